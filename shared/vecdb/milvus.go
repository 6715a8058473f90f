package vecdb

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-sdk-go/v2/client"
	"github.com/milvus-io/milvus-sdk-go/v2/entity"

	"videosim/shared/errs"
)

// Milvus is an Index in a Milvus server: one collection a model, named by its
// fingerprint, with inner product as the metric.
//
// Reads are Bounded: they see every write older than Milvus's staleness bound
// (5 s by its default) and in practice those older than its tick of 200 ms.
// Barrier closes the gap; it costs up to two ticks and never stands in a read.
type Milvus struct {
	cfg        MilvusConfig
	collection string
	dim        int
	link       *link
	kind       atomic.Pointer[string] // type of the collection's index; the configured one until it is known
	unready    atomic.Int64           // Unix nanoseconds since when Ready fails; 0 while it succeeds
}

// Alias is the name under which programs outside the suite find the promoted
// collection.
const Alias = "videos"

const collectionPrefix = Alias + "_"

// OpenMilvus opens the collection of a model, which is created where it is
// missing, and checked and loaded where it is not. It does not wait for a
// server that is away: the connecting goes on beside, Ready tells how far it
// is, and calls fail as Unavailable with the reason meanwhile. Invalid where
// the settings, or the fields of an existing collection, are not right.
func OpenMilvus(ctx context.Context, cfg MilvusConfig, fingerprint string, dim int) (*Milvus, error) {
	m, err := newMilvus(cfg, fingerprint)
	if err != nil {
		return nil, err
	}
	m.dim = dim
	if m.link, err = openLink(ctx, cfg, m.prepare); err != nil {
		return nil, err
	}
	return m, nil
}

// AttachMilvus opens a collection that exists, for operators: it creates
// nothing, takes the dimension from the collection, and returns once the
// collection answers or ctx ends. NotFound where there is no such collection.
func AttachMilvus(ctx context.Context, cfg MilvusConfig, fingerprint string) (*Milvus, error) {
	m, err := newMilvus(cfg, fingerprint)
	if err != nil {
		return nil, err
	}
	if m.link, err = openLink(ctx, cfg, m.attach); err != nil {
		return nil, err
	}
	if err := m.WaitReady(ctx); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

func newMilvus(cfg MilvusConfig, fingerprint string) (*Milvus, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if !validFingerprint.MatchString(fingerprint) {
		return nil, errs.Field("fingerprint", "expected letters and digits, found %q", fingerprint)
	}
	m := &Milvus{cfg: cfg, collection: collectionPrefix + fingerprint}
	m.kind.Store(&m.cfg.Index)
	m.unready.Store(time.Now().UnixNano())
	return m, nil
}

// prepare makes the collection exist, indexed, and loading.
func (m *Milvus) prepare(ctx context.Context, c *client.GrpcClient) error {
	found, err := c.DescribeCollection(ctx, m.collection)
	switch {
	case isMissing(err):
		err = m.create(ctx, c)
	case err == nil:
		err = checkSchema(found.Schema, m.schema())
	}
	if err != nil {
		return m.fail("open", err)
	}
	if err := m.index(ctx, c); err != nil {
		return m.fail("create the index of", err)
	}
	return m.load(ctx, c)
}

// attach takes an existing collection as it is, and has it loading.
func (m *Milvus) attach(ctx context.Context, c *client.GrpcClient) error {
	found, err := c.DescribeCollection(ctx, m.collection)
	if isMissing(err) {
		return errs.New(errs.NotFound, "milvus at %s has no collection %s: has an indexer of that model run?", m.cfg.Address, m.collection)
	}
	if err != nil {
		return m.fail("open", err)
	}
	if m.dim, err = dimOf(found.Schema); err != nil {
		return m.fail("open", err)
	}
	if err := checkSchema(found.Schema, m.schema()); err != nil {
		return m.fail("open", err)
	}
	if state, err := m.indexState(ctx, c); err == nil {
		m.kind.Store(&state.Kind)
	} else {
		return m.fail("read the index of", err)
	}
	return m.load(ctx, c)
}

func (m *Milvus) load(ctx context.Context, c *client.GrpcClient) error {
	if err := c.LoadCollection(ctx, m.collection, true); err != nil {
		return m.fail("load", err)
	}
	return nil
}

func (m *Milvus) create(ctx context.Context, c *client.GrpcClient) error {
	err := c.CreateCollection(ctx, m.schema(), entity.DefaultShardNumber,
		client.WithConsistencyLevel(entity.ClBounded))
	if err == nil {
		return nil
	}
	// Another process may have created it at the same time.
	if found, again := c.DescribeCollection(ctx, m.collection); again == nil {
		return checkSchema(found.Schema, m.schema())
	}
	return err
}

// Ready implements Readier: it returns nil once the collection answers, else
// an Unavailable error that names the collection, how much of it is loaded,
// and for how long it has not answered.
func (m *Milvus) Ready(ctx context.Context) error {
	ctx, cancel := m.deadline(ctx)
	defer cancel()
	_, err := m.query(ctx, inIDs(nil), []string{fieldID}, entity.ClBounded)
	if err == nil {
		m.unready.Store(0)
		return nil
	}
	now := time.Now()
	m.unready.CompareAndSwap(0, now.UnixNano())
	age := now.Sub(time.Unix(0, m.unready.Load())).Round(time.Second)
	state := "its loading state is unknown"
	if isMissing(err) {
		state = "it is gone (an indexer that starts makes it again and fills it from EMBEDDINGS)"
	} else if percent, progressErr := m.progress(ctx); progressErr == nil {
		state = fmt.Sprintf("it is %d %% loaded", percent)
	}
	return errs.New(errs.Unavailable, "milvus collection %s at %s does not answer for %s, %s: %w",
		m.collection, m.cfg.Address, age, state, err)
}

// WaitReady returns when the collection answers, or the reason why not when
// ctx ends.
func (m *Milvus) WaitReady(ctx context.Context) error {
	for {
		err := m.Ready(ctx)
		if err == nil || pause(ctx) != nil {
			return err
		}
	}
}

// pause waits for a tenth of a second or the end of ctx.
func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(100 * time.Millisecond):
		return nil
	}
}

// progress is how much of the collection is loaded, in percent. The SDK's own
// call drops the server's status.
func (m *Milvus) progress(ctx context.Context) (int64, error) {
	c, err := m.link.client()
	if err != nil {
		return 0, err
	}
	resp, err := c.Service.GetLoadingProgress(ctx,
		&milvuspb.GetLoadingProgressRequest{CollectionName: m.collection})
	if err != nil {
		return 0, err
	}
	return resp.GetProgress(), nil
}

// Collection is the name of the collection.
func (m *Milvus) Collection() string { return m.collection }

// Dim is how many numbers an embedding has.
func (m *Milvus) Dim() int { return m.dim }

// Close implements Index.
func (m *Milvus) Close() error { return m.link.close() }

// deadline bounds one call.
func (m *Milvus) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, m.cfg.Timeout)
}

// fail wraps an error of the SDK: what was being done, and its kind.
func (m *Milvus) fail(what string, err error) error {
	return milvusError(fmt.Sprintf("milvus at %s: %s %s", m.cfg.Address, what, m.collection), err)
}
