// Command embedder turns the videos of the stream VIDEOS into embeddings, with
// one bundle.
package main

import (
	"context"
	"os"

	"videosim/embedder"
	"videosim/shared/service"
)

type cli struct{ embedder.Config }

func (c *cli) Run(ctx context.Context, env *service.Env) error {
	return embedder.Run(ctx, c.Config, embedder.Env{Env: env})
}

func main() { service.Main("embedder", new(cli), os.Args[1:]) }
