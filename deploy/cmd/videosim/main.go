// Command videosim runs the suite in one process, and is the operators' tool.
package main

import (
	"context"
	"os"

	"videosim/deploy/models"
	"videosim/deploy/videosim"
	"videosim/shared/service"
)

type cli struct {
	Up      up      `cmd:"" help:"Run all services, NATS and the index in one process."`
	Demo    demo    `cmd:"" help:"The main job from nothing: corpus, training, publishing, queries, evaluation; then serves."`
	Publish publish `cmd:"" help:"Publish the videos of a data folder."`
	Dead    dead    `cmd:"" help:"List dead letters; show, send back or drop one."`
	Promote promote `cmd:"" help:"Point the alias of Milvus to a model's collection once its gates hold, or back (--rollback)."`
	Rebuild rebuild `cmd:"" help:"Fill a model's collection in Milvus again from the stored embeddings, or embed everything again."`
	Doctor  doctor  `cmd:"" help:"Check the NATS server, the streams, a bundle, and Milvus (--index milvus)."`
}

type (
	up      struct{ videosim.UpConfig }
	demo    struct{ videosim.DemoConfig }
	publish struct{ videosim.PublishConfig }
	dead    struct{ videosim.DeadConfig }
	promote struct{ models.PromoteConfig }
	rebuild struct{ models.RebuildConfig }
	doctor  struct{ videosim.DoctorConfig }
)

func (c *up) Run(ctx context.Context, env *service.Env) error {
	return videosim.Up(ctx, c.UpConfig, env)
}

func (c *demo) Run(ctx context.Context, env *service.Env) error {
	return videosim.Demo(ctx, c.DemoConfig, env)
}

func (c *publish) Run(ctx context.Context, env *service.Env) error {
	return videosim.Publish(ctx, c.PublishConfig, env)
}

func (c *dead) Run(ctx context.Context, env *service.Env) error {
	return videosim.Dead(ctx, c.DeadConfig, env)
}

func (c *promote) Run(ctx context.Context, env *service.Env) error {
	return models.Promote(ctx, c.PromoteConfig, env)
}

func (c *rebuild) Run(ctx context.Context, env *service.Env) error {
	return models.Rebuild(ctx, c.RebuildConfig, env)
}

func (c *doctor) Run(ctx context.Context, env *service.Env) error {
	return videosim.Doctor(ctx, c.DoctorConfig, env)
}

func main() { service.Main("videosim", new(cli), os.Args[1:]) }
