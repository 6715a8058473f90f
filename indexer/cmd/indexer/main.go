// Command indexer keeps a Milvus collection in step with the stream EMBEDDINGS.
package main

import (
	"context"
	"os"

	"videosim/indexer"
	"videosim/shared/service"
)

type cli struct{ indexer.Config }

func (c *cli) Run(ctx context.Context, env *service.Env) error {
	return indexer.Run(ctx, c.Config, indexer.Env{Env: env})
}

func main() { service.Main("indexer", new(cli), os.Args[1:]) }
