package vecdb

import (
	"context"

	"github.com/milvus-io/milvus-sdk-go/v2/client"

	"videosim/shared/errs"
)

// Examined is what an operator wants to know of a collection.
type Examined struct {
	Collection
	Rows    int64
	Index   IndexState
	Failure error // why the rest is not known, or why its index is not what it should be
}

// ExamineMilvus looks at a server without changing anything: its version, and
// every model's collection. The error is about reaching it.
func ExamineMilvus(ctx context.Context, cfg MilvusConfig) (version string, all []Examined, err error) {
	if err := cfg.Validate(); err != nil {
		return "", nil, err
	}
	m := &Milvus{cfg: cfg, collection: Alias}
	m.link, err = openLink(ctx, cfg, func(ctx context.Context, c *client.GrpcClient) error {
		var asked error
		version, asked = c.GetVersion(ctx)
		return asked
	})
	if err != nil {
		return "", nil, err
	}
	defer m.Close()
	for _, err = m.link.client(); err != nil; _, err = m.link.client() {
		if pause(ctx) != nil {
			return "", nil, err
		}
	}
	collections, err := m.Collections(ctx)
	for _, c := range collections {
		all = append(all, m.examine(ctx, c))
	}
	return version, all, err
}

// examine looks at one of the server's collections.
func (m *Milvus) examine(ctx context.Context, c Collection) Examined {
	one := &Milvus{cfg: m.cfg, collection: c.Name, link: m.link}
	found := Examined{Collection: c}
	if found.Index, found.Failure = one.IndexState(ctx); found.Failure != nil {
		return found
	}
	if found.Failure = one.Ready(ctx); found.Failure != nil {
		return found
	}
	if found.Rows, found.Failure = one.Count(ctx); found.Failure != nil {
		return found
	}
	if found.Index.Failure != "" {
		found.Failure = errs.New(errs.Internal, "its %s index failed to build: %s", found.Index.Kind, found.Index.Failure)
	}
	return found
}
