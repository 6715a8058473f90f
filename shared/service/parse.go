package service

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/alecthomas/kong"
)

// errHelped means that --help or --version was answered.
var errHelped = errors.New("help was printed")

// envPrefix begins the environment variable of every flag.
const envPrefix = "VIDEOSIM_"

// envName is the environment variable of a flag: VIDEOSIM_NATS_URL of --nats-url.
func envName(flag string) string {
	return envPrefix + strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(flag))
}

// parse reads all sources of configuration into cli and Common.
func (p process) parse(cli any) (*kong.Context, *Common, error) {
	common, helped := new(Common), false
	sources := new(sources)
	parser, err := kong.New(cli,
		kong.Name(p.name),
		kong.Embed(common),
		kong.Vars{"admin_listen": adminDefault(p.name), "version": p.name + " " + version()},
		kong.Writers(p.stdout, p.stderr),
		kong.Exit(func(int) { helped = true }),
		kong.ValueFormatter(helpWithVariable),
		kong.Resolvers(sources),
		kong.WithBeforeResolve(func(c *kong.Context) error {
			if helped {
				return errHelped
			}
			return sources.read(c, p.environ)
		}),
	)
	if err != nil {
		return nil, nil, fmt.Errorf("the program's own flags are wrong: %w", err)
	}
	command, err := parser.Parse(p.args)
	switch {
	case helped:
		return nil, nil, errHelped
	case err != nil:
		return nil, nil, err
	}
	return command, common, common.validate() // kong validates cli, not what is embedded into it
}

// helpWithVariable shows the environment variable beside a flag's help.
func helpWithVariable(value *kong.Value) string {
	if value.Flag == nil || !configurable(value.Flag) {
		return value.Help
	}
	help, dot := strings.CutSuffix(value.Help, ".")
	help = strings.TrimLeft(help+" ($"+envName(value.Flag.Name)+")", " ")
	if dot {
		help += "."
	}
	return help
}

// configurable says whether a flag may come from a file or the environment.
func configurable(flag *kong.Flag) bool { return flag.Name != "help" && flag.Name != "version" }

// version is what the Go tool knows about this build.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	parts := []string{info.Main.Version}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			parts = append(parts, setting.Value)
		}
	}
	return strings.Join(append(parts, info.GoVersion), " ")
}
