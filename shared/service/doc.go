// Package service is what a process of the suite owns, so that the services
// themselves own none of it: flags, config, signals, logs, the admin port,
// metrics, traces and the exit status.
//
//   - main.go: Main, from the command line to the exit status;
//   - parse.go, sources.go: defaults ← YAML file ← environment ← flags, and
//     complaints that name the nearest known key;
//   - effective.go: what is in force, logged once, secrets hidden;
//   - env.go, testenv.go: Env, what a service gets from its process;
//   - admin.go, ready.go: /livez, /readyz, /metrics, /debug/pprof;
//   - trace.go: OpenTelemetry.
//
// A command line is a kong struct whose commands (or itself) have a method
//
//	Run(ctx context.Context, env *service.Env) error
//
// and the whole main of a program is
//
//	func main() { service.Main("embedder", &cli, os.Args[1:]) }
//
// Every flag is also the key of the same name in the file given by --config
// ("nats-url", or "url" under "nats") and the environment variable
// VIDEOSIM_NATS_URL. Main adds the flags of Common; a command defines none of
// those names itself. Config structs that implement Validate() error are
// checked before Run. Fields tagged secret:"" never reach a log.
//
// Exit status: 0 done, 1 the command failed, 2 the command line or the
// configuration is wrong.
package service
