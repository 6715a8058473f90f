package embedder

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/semaphore"

	"videosim/shared/errs"
	"videosim/shared/event"
)

// objects reads an object store of NATS.
type objects interface {
	// Object returns an object of at most maxBytes. Errors: NotFound, Invalid
	// (larger), Unavailable.
	Object(ctx context.Context, bucket, key string, maxBytes int) ([]byte, error)
}

// resolver fetches frames that an event names instead of carrying them. A
// producer may name only what the configuration allows: otherwise everyone who
// can publish could read this machine's files and its private network.
type resolver struct {
	cfg     RefConfig
	allow   []*url.URL
	slots   *semaphore.Weighted            // of all fetches
	hosts   map[string]*semaphore.Weighted // of the fetches from one host, bucket or folder of allow
	client  *http.Client
	objects objects
}

// hostShare of the slots is the most that one host may hold, so that one that is
// slow cannot take all of them from the others.
const hostShare = 2

// redirectLimit is how often an http server may send the fetch elsewhere; each
// stop must be allowed as well.
const redirectLimit = 3

func newResolver(cfg RefConfig, store objects) (*resolver, error) {
	r := &resolver{cfg: cfg, slots: semaphore.NewWeighted(int64(cfg.Parallel)), hosts: make(map[string]*semaphore.Weighted), objects: store}
	perHost := max(1, cfg.Parallel/hostShare)
	for _, a := range cfg.Allow {
		u, err := parseRef(a)
		if err != nil {
			return nil, errs.Field("ref-allow", "%q: %w", a, err)
		}
		r.allow = append(r.allow, u)
		r.hosts[hostOf(u)] = semaphore.NewWeighted(int64(perHost))
	}
	r.client = &http.Client{Transport: transport(perHost), CheckRedirect: func(req *http.Request, via []*http.Request) error {
		if len(via) > redirectLimit || !r.mayFollow(req.URL) {
			return errs.Field("frames.ref", "redirected to %s, which ref-allow does not allow", req.URL.Redacted())
		}
		return nil
	}}
	return r, nil
}

// hostOf tells apart what can be slow on its own.
func hostOf(u *url.URL) string { return u.Scheme + "://" + u.Host }

// transport bounds each step of a fetch, and the connections that redirects to
// another host open. The whole fetch is bounded by RefConfig.Timeout.
func transport(perHost int) *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		TLSHandshakeTimeout:    5 * time.Second,
		ResponseHeaderTimeout:  10 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		MaxConnsPerHost:        perHost,
		MaxIdleConnsPerHost:    perHost,
		IdleConnTimeout:        time.Minute,
		ForceAttemptHTTP2:      true,
	}
}

// acquire waits for the host's turn before it takes one of the slots of all:
// what waits for a slow host must not hold a slot.
func (r *resolver) acquire(ctx context.Context, host string) (release func(), err error) {
	own := r.hosts[host]
	if err := own.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	if err := r.slots.Acquire(ctx, 1); err != nil {
		own.Release(1)
		return nil, err
	}
	return func() { r.slots.Release(1); own.Release(1) }, nil
}

// fetch returns the bytes that ref names, checked against their SHA-256 (lower
// case, hex). Errors: Invalid (not allowed, too large), NotFound, Corrupt (not
// the promised bytes), Unavailable.
func (r *resolver) fetch(ctx context.Context, frames *event.Frames) ([]byte, error) {
	ref, err := parseRef(frames.GetRef())
	if err != nil {
		return nil, errs.Field("frames.ref", "%w", err)
	}
	root := r.allowed(ref)
	if root == nil {
		return nil, errs.Field("frames.ref", "%s is not under an address that ref-allow names", ref.Redacted())
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	release, err := r.acquire(ctx, hostOf(root))
	if err != nil {
		return nil, errs.New(errs.Unavailable, "wait to fetch %s: %w", ref.Redacted(), err)
	}
	defer release()
	data, err := r.read(ctx, root, ref)
	if err != nil {
		return nil, fmt.Errorf("fetch %s: %w", ref.Redacted(), err)
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != frames.GetSha256() {
		return nil, errs.New(errs.Corrupt, "fetch %s: expected sha256 %s, found %x", ref.Redacted(), frames.GetSha256(), sum)
	}
	return data, nil
}

func (r *resolver) read(ctx context.Context, root, ref *url.URL) ([]byte, error) {
	switch ref.Scheme {
	case "objectstore":
		return r.objects.Object(ctx, ref.Host, strings.TrimPrefix(ref.Path, "/"), r.cfg.MaxBytes)
	case "file":
		return r.readFile(root.Path, ref.Path)
	default:
		return r.get(ctx, ref)
	}
}

// readFile opens name inside the folder root: a symbolic link cannot lead out
// of it, and what is no file (a pipe, say, which would block) is not opened.
func (r *resolver) readFile(folder, name string) ([]byte, error) {
	root, err := os.OpenRoot(folder + "/")
	if err != nil {
		return nil, fileError(err)
	}
	defer root.Close()
	inside := strings.TrimPrefix(strings.TrimPrefix(name, folder), "/")
	info, err := root.Stat(inside)
	switch {
	case err != nil:
		return nil, fileError(err)
	case !info.Mode().IsRegular():
		return nil, errs.Field("frames.ref", "expected a file, found %s", info.Mode())
	}
	f, err := root.Open(inside)
	if err != nil {
		return nil, fileError(err)
	}
	defer f.Close()
	return r.readAll(f)
}

// fileError gives an error of the file system its kind. One that the system
// did not raise is the refusal to leave the folder.
func fileError(err error) error {
	var system syscall.Errno
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errs.New(errs.NotFound, "%w", err)
	case errors.As(err, &system):
		return errs.New(errs.Unavailable, "%w", err)
	}
	return errs.Field("frames.ref", "%w", err)
}

func (r *resolver) get(ctx context.Context, ref *url.URL) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, ref.String(), nil)
	if err != nil {
		return nil, errs.Field("frames.ref", "%w", err)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		if errs.FieldOf(err) != "" { // our own refusal of a redirect
			return nil, err
		}
		return nil, errs.New(errs.Unavailable, "%w", err)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusOK:
		return r.readAll(resp.Body)
	case resp.StatusCode == http.StatusNotFound, resp.StatusCode == http.StatusGone:
		return nil, errs.New(errs.NotFound, "the server answers %s", resp.Status)
	case resp.StatusCode >= 500, resp.StatusCode == http.StatusTooManyRequests:
		return nil, errs.New(errs.Unavailable, "the server answers %s", resp.Status)
	}
	return nil, errs.Field("frames.ref", "the server answers %s", resp.Status)
}

// readAll reads to the end, but never more than one byte over the limit.
func (r *resolver) readAll(from io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(from, int64(r.cfg.MaxBytes)+1))
	if err != nil {
		return nil, errs.New(errs.Unavailable, "%w", err)
	}
	if len(data) > r.cfg.MaxBytes {
		return nil, errs.Field("frames.ref", "expected at most %d bytes, found more", r.cfg.MaxBytes)
	}
	return data, nil
}

// mayFollow applies the allow-list to where a server redirects to.
func (r *resolver) mayFollow(to *url.URL) bool {
	ref, err := parseRef(to.String())
	return err == nil && (ref.Scheme == "http" || ref.Scheme == "https") && r.allowed(ref) != nil
}

// allowed returns the entry of the allow-list that covers ref, or nil: the
// same scheme and host, and a path equal to the entry's or under it.
func (r *resolver) allowed(ref *url.URL) *url.URL {
	for _, a := range r.allow {
		if a.Scheme == ref.Scheme && a.Host == ref.Host &&
			(a.Path == "" || ref.Path == a.Path || strings.HasPrefix(ref.Path, a.Path+"/")) {
			return a
		}
	}
	return nil
}

// parseRef reads an address of a kind that can be fetched; of an object store,
// the bucket becomes the host. Paths that are not in their shortest form
// ("a/../b", "a//b") are refused, so that a comparison of prefixes is a
// comparison of folders.
func parseRef(s string) (*url.URL, error) {
	u, err := splitRef(s)
	if err != nil {
		return nil, err
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	if u.Path != "" && path.Clean(u.Path) != u.Path {
		return nil, fmt.Errorf("expected the path in its shortest form, %s, found %s", path.Clean(u.Path), u.Path)
	}
	return u, nil
}

func splitRef(s string) (*url.URL, error) {
	if rest, ok := strings.CutPrefix(s, "objectstore:"); ok {
		bucket, key, _ := strings.Cut(rest, "/")
		if bucket == "" {
			return nil, errors.New("expected objectstore:BUCKET/KEY")
		}
		return &url.URL{Scheme: "objectstore", Host: bucket, Path: "/" + key}, nil
	}
	u, err := url.Parse(s)
	if err != nil {
		return nil, err
	}
	u.Host = strings.ToLower(u.Host)
	switch {
	case u.User != nil:
		return nil, errors.New("expected no user and password in the address")
	case u.Scheme == "file" && u.Host == "" && strings.HasPrefix(u.Path, "/"),
		(u.Scheme == "http" || u.Scheme == "https") && u.Host != "":
		return u, nil
	}
	return nil, fmt.Errorf("expected objectstore:BUCKET/KEY, https://HOST/PATH, http://HOST/PATH or file:///PATH, found %q", s)
}
