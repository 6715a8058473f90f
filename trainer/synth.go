package trainer

import (
	"context"
	"fmt"

	"videosim/shared/service"
	"videosim/shared/video"
)

// SynthConfig describes a synthetic corpus.
type SynthConfig struct {
	Out        string  `name:"out" required:"" type:"path" help:"Folder to write; must be empty or not exist."`
	Videos     int     `name:"videos" default:"3000" help:"Number of videos."`
	Pairs      int     `name:"pairs" default:"3000" help:"Number of judged pairs."`
	Seed       uint64  `name:"seed" default:"1" help:"The same seed gives the same bytes."`
	Preset     string  `name:"preset" enum:"tiny,base" default:"tiny" help:"Frame width and number of tags: those of the model preset."`
	LabelNoise float64 `name:"label-noise" help:"Standard deviation of the judgements around the truth, on their scale of 0 to 1."`
}

// Synth writes a synthetic corpus. ctx is looked at before the work begins: a
// corpus appears whole or not at all.
func Synth(ctx context.Context, cfg SynthConfig, env *service.Env) error {
	corpus, err := video.SynthPreset(cfg.Preset, cfg.Videos, cfg.Pairs, cfg.Seed)
	if err != nil {
		return err
	}
	corpus.LabelNoise = cfg.LabelNoise
	if err := ctx.Err(); err != nil {
		return err
	}
	p := newProgress(env.Stderr)
	shown := p.count("synthetic corpus", cfg.Videos)
	err = video.Synthesize(cfg.Out, corpus, func(done, _ int) { shown(done) })
	p.wait()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(env.Stdout, "%d videos and %d pairs in %s\n", cfg.Videos, cfg.Pairs, cfg.Out)
	return err
}
