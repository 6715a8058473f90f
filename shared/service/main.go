package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"videosim/shared/errs"
)

// Exit statuses.
const (
	exitOK     = 0
	exitFailed = 1 // the command ran and failed, or did not stop in time
	exitUsage  = 2 // the command line or the configuration is wrong
)

// Common are the flags that every program has.
type Common struct {
	Config          string           `help:"Read settings from this YAML file: one key a flag, nested (nats: {url: …}) or not (nats-url: …)." placeholder:"FILE"`
	Log             LogConfig        `embed:"" prefix:"log-"`
	Admin           AdminConfig      `embed:"" prefix:"admin-"`
	ShutdownTimeout time.Duration    `help:"How long work in hand may take to finish after SIGINT or SIGTERM; then the process ends anyway." default:"30s"`
	Version         kong.VersionFlag `help:"Print the version and exit."`
}

func (c *Common) validate() error {
	if c.ShutdownTimeout <= 0 {
		return errs.Field("shutdown-timeout", "expected a positive duration, found %v", c.ShutdownTimeout)
	}
	return nil
}

// Main runs the command line args, without the program's name, and exits the
// process. cli is a pointer to a kong struct; see the package's description.
func Main(name string, cli any, args []string) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	os.Exit(process{
		name: name, args: args, environ: os.Environ(),
		stdout: os.Stdout, stderr: os.Stderr, signals: signals, kill: os.Exit,
	}.run(cli))
}

// process is what Main takes from the operating system; tests bring their own.
type process struct {
	name           string
	args, environ  []string
	stdout, stderr io.Writer
	signals        <-chan os.Signal
	kill           func(status int)
}

func (p process) run(cli any) (status int) {
	command, common, err := p.parse(cli)
	if errors.Is(err, errHelped) {
		return exitOK
	}
	if err != nil {
		fmt.Fprintf(p.stderr, "%s: error: %v\nEvery setting is explained by: %s --help\n", p.name, err, p.name)
		return exitUsage
	}
	tracer, stopTracer, err := newTracer(p.name, p.environ, newLogger(common.Log, p.stderr))
	if err != nil {
		fmt.Fprintf(p.stderr, "%s: error: %v\n", p.name, err)
		return exitUsage
	}
	env := NewEnv(common.Log, tracer, p.stdout, p.stderr)
	defer stopTracer()
	logEffective(env.Log, command)
	return p.runCommand(command, common, env)
}

// runCommand runs the selected command with its admin port and signals.
func (p process) runCommand(command *kong.Context, common *Common, env *Env) int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	finished := make(chan struct{})
	defer close(finished)
	go p.watchSignals(env, common.ShutdownTimeout, cancel, finished)
	stopAdmin := env.Admin.start(ctx, common.Admin, env.Log, cancel)
	command.BindTo(ctx, (*context.Context)(nil))
	err := command.Run(env)
	// The admin port outlives the command: readiness says "stopping" meanwhile.
	stopAdmin()
	return report(ctx, env, command.Command(), err)
}

// errSignal is why ctx ended when the process was asked to stop.
var errSignal = errors.New("stopped by a signal")

// report turns the end of a command into a status. A command that returns
// because it was asked to has not failed.
func report(ctx context.Context, env *Env, command string, err error) int {
	cause := context.Cause(ctx)
	if errors.Is(cause, errSignal) && (err == nil || errors.Is(err, context.Canceled)) {
		env.Log.Info("stopped")
		return exitOK
	}
	if cause != nil && !errors.Is(cause, errSignal) {
		err = cause // what broke the process, not the cancellation it caused
	}
	if err == nil {
		return exitOK
	}
	env.Log.Error("failed", "command", command, "kind", errs.KindOf(err).String(), "error", err.Error())
	return exitFailed
}

// watchSignals cancels at the first signal; a second one, or the end of the
// time that shutting down may take, ends the process at once.
func (p process) watchSignals(env *Env, timeout time.Duration, cancel context.CancelCauseFunc, finished <-chan struct{}) {
	select {
	case s := <-p.signals:
		env.Log.Info("stopping", "signal", s.String(), "timeout", timeout.String())
		cancel(errSignal)
	case <-finished:
		return
	}
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	select {
	case s := <-p.signals:
		env.Log.Error("killed by a second signal", "signal", s.String())
	case <-deadline.C:
		env.Log.Error("did not stop in time", "timeout", timeout.String())
	case <-finished:
		return
	}
	p.kill(exitFailed)
}
