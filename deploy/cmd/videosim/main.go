// Command videosim runs the suite in one process, and is the operators' tool.
package main

import (
	"context"
	"os"

	"videosim/deploy/videosim"
	"videosim/shared/service"
)

type cli struct {
	Up   up   `cmd:"" help:"Run all services, NATS and the index in one process."`
	Demo demo `cmd:"" help:"The main job from nothing: corpus, training, publishing, queries, evaluation; then serves."`
}

type up struct{ videosim.UpConfig }

func (c *up) Run(ctx context.Context, env *service.Env) error {
	return videosim.Up(ctx, c.UpConfig, env)
}

type demo struct{ videosim.DemoConfig }

func (c *demo) Run(ctx context.Context, env *service.Env) error {
	return videosim.Demo(ctx, c.DemoConfig, env)
}

func main() { service.Main("videosim", new(cli), os.Args[1:]) }
