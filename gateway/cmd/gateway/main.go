// Command gateway answers questions about videos over HTTP.
package main

import (
	"context"
	"os"

	"videosim/gateway"
	"videosim/shared/service"
)

type command struct {
	Config gateway.Config `embed:""`
}

// Run serves until ctx ends.
func (c *command) Run(ctx context.Context, env *service.Env) error {
	return gateway.Run(ctx, c.Config, gateway.Env{Env: env})
}

func main() { service.Main("gateway", &command{}, os.Args[1:]) }
