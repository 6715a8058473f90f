package vecdb

import (
	"context"
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
	client     *client.GrpcClient
	cfg        MilvusConfig
	collection string
	dim        int
	unready    atomic.Int64 // Unix nanoseconds since when Ready fails; 0 while it succeeds
}

// Alias is the name under which programs outside the suite find the promoted
// collection.
const Alias = "videos"

const collectionPrefix = Alias + "_"

// OpenMilvus connects, creates the collection where it is missing, checks its
// fields where it is not, and asks Milvus to load it. It does not wait for the
// loading: Ready tells how far that is.
func OpenMilvus(ctx context.Context, cfg MilvusConfig, fingerprint string, dim int) (*Milvus, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if !validFingerprint.MatchString(fingerprint) {
		return nil, errs.Field("fingerprint", "expected letters and digits, found %q", fingerprint)
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.ConnectTimeout)
	defer cancel()
	c, err := dial(ctx, cfg)
	if err != nil {
		return nil, err
	}
	m := &Milvus{client: c, cfg: cfg, collection: collectionPrefix + fingerprint, dim: dim}
	m.unready.Store(time.Now().UnixNano())
	if err := m.prepare(ctx); err != nil {
		_ = c.Close() // the first error says more
		return nil, err
	}
	return m, nil
}

// prepare makes the collection exist, indexed, and loading.
func (m *Milvus) prepare(ctx context.Context) error {
	found, err := m.client.DescribeCollection(ctx, m.collection)
	switch {
	case isMissing(err):
		err = m.create(ctx)
	case err == nil:
		err = checkSchema(found.Schema, m.schema())
	}
	if err != nil {
		return m.fail("open", err)
	}
	if err := m.index(ctx); err != nil {
		return m.fail("create the index of", err)
	}
	if err := m.client.LoadCollection(ctx, m.collection, true); err != nil {
		return m.fail("load", err)
	}
	return nil
}

func (m *Milvus) create(ctx context.Context) error {
	err := m.client.CreateCollection(ctx, m.schema(), entity.DefaultShardNumber,
		client.WithConsistencyLevel(entity.ClBounded))
	if err == nil {
		return nil
	}
	// Another process may have created it at the same time.
	if found, again := m.client.DescribeCollection(ctx, m.collection); again == nil {
		return checkSchema(found.Schema, m.schema())
	}
	return err
}

// index asks for the vector index. Milvus takes the same request twice; one
// with other parameters than an existing index is left to the operator.
func (m *Milvus) index(ctx context.Context) error {
	existing, err := m.client.DescribeIndex(ctx, m.collection, fieldEmbedding)
	if err == nil && len(existing) > 0 {
		return nil
	}
	params, err := indexParams(m.cfg.Index)
	if err != nil {
		return err
	}
	return m.client.CreateIndex(ctx, m.collection, fieldEmbedding, params, true)
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
	if percent, progressErr := m.progress(ctx); progressErr == nil {
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
	resp, err := m.client.Service.GetLoadingProgress(ctx,
		&milvuspb.GetLoadingProgressRequest{CollectionName: m.collection})
	if err != nil {
		return 0, err
	}
	return resp.GetProgress(), nil
}

// Collection is the name of the collection.
func (m *Milvus) Collection() string { return m.collection }

// Close implements Index.
func (m *Milvus) Close() error { return m.client.Close() }

// deadline bounds one call.
func (m *Milvus) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, m.cfg.Timeout)
}

// fail wraps an error of the SDK: what was being done, and its kind.
func (m *Milvus) fail(what string, err error) error {
	return milvusError(fmt.Sprintf("milvus at %s: %s %s", m.cfg.Address, what, m.collection), err)
}
