package vecdb

import (
	"context"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-sdk-go/v2/client"

	"videosim/shared/errs"
)

// IndexState is how far a collection's vector index covers what Milvus has
// written to storage. Rows without an index are found all the same, by
// comparing every one of them.
type IndexState struct {
	Kind    string // IndexHNSW, IndexIVFSQ8 or IndexDiskANN
	Rows    int64  // in storage
	Pending int64  // of those, without an index
	Failure string // why building it failed; "" where the server says nothing of the kind
}

// index asks for the vector index where there is none. An existing one stays
// as it is, whatever the settings say: searches follow what is there.
func (m *Milvus) index(ctx context.Context, c *client.GrpcClient) error {
	state, err := m.indexState(ctx, c)
	if err == nil {
		m.kind.Store(&state.Kind)
		return nil
	}
	if errs.KindOf(err) != errs.NotFound {
		return err
	}
	params, err := indexParams(m.cfg.Index)
	if err != nil {
		return err
	}
	if err := c.CreateIndex(ctx, m.collection, fieldEmbedding, params, true); err != nil {
		return err
	}
	m.kind.Store(&m.cfg.Index)
	return nil
}

// IndexState asks the server. NotFound where the collection has no index.
func (m *Milvus) IndexState(ctx context.Context) (IndexState, error) {
	c, err := m.link.client()
	if err != nil {
		return IndexState{}, err
	}
	ctx, cancel := m.deadline(ctx)
	defer cancel()
	state, err := m.indexState(ctx, c)
	if err != nil {
		return IndexState{}, m.fail("read the index state of", err)
	}
	return state, nil
}

// indexState reads the rows as well: the state alone, which is all that the
// SDK passes on, says "finished" also where not one row has an index.
func (m *Milvus) indexState(ctx context.Context, c *client.GrpcClient) (IndexState, error) {
	reply, err := c.Service.DescribeIndex(ctx, &milvuspb.DescribeIndexRequest{CollectionName: m.collection, FieldName: fieldEmbedding})
	if isIndexMissing(err) || err == nil && len(reply.GetIndexDescriptions()) == 0 {
		return IndexState{}, errs.New(errs.NotFound, "it has no index")
	}
	if err != nil {
		return IndexState{}, err
	}
	found := reply.GetIndexDescriptions()[0]
	state := IndexState{Rows: found.GetTotalRows(), Pending: found.GetPendingIndexRows(), Failure: found.GetIndexStateFailReason()}
	if found.GetState() == commonpb.IndexState_Failed && state.Failure == "" {
		state.Failure = "the server gives no reason"
	}
	for _, p := range found.GetParams() {
		if p.GetKey() == "index_type" {
			state.Kind = strings.ToLower(p.GetValue())
		}
	}
	if _, err := indexParams(state.Kind); err != nil {
		return IndexState{}, errs.New(errs.Invalid, "its index is of type %q, expected %s, %s or %s: it was made by another program; drop the index",
			state.Kind, IndexHNSW, IndexIVFSQ8, IndexDiskANN)
	}
	return state, nil
}

// Settle has Milvus write what it holds in memory to storage and waits until
// its index covers every row of it. Searches are correct before, and faster
// after; a bulk load ends with it. It takes seconds to minutes: ctx is its
// only deadline. A server that cannot build an index tries for ever and tells
// nobody but its log, so the error at the deadline says where to look.
func (m *Milvus) Settle(ctx context.Context) error {
	c, err := m.link.client()
	if err != nil {
		return err
	}
	if err := c.Flush(ctx, m.collection, false); err != nil {
		return m.fail("flush", err)
	}
	var state IndexState
	for {
		switch found, err := m.IndexState(ctx); {
		case err != nil && pause(ctx) != nil: // out of time, which the server may notice first
		case err != nil:
			return err
		case found.Failure != "":
			return errs.New(errs.Internal, "milvus at %s: the %s index of %s failed to build: %s", m.cfg.Address, found.Kind, m.collection, found.Failure)
		case found.Pending == 0:
			return nil
		default:
			state = found
		}
		if err := pause(ctx); err != nil {
			return errs.New(errs.Unavailable, "milvus at %s: %d of %d rows of %s have no %s index yet: %w; "+
				"the server's log says why where none ever gets one (\"bad_function_call\": it was built without that index type)",
				m.cfg.Address, state.Pending, state.Rows, m.collection, state.Kind, err)
		}
	}
}
