package trainer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"videosim/shared/errs"
	"videosim/shared/service"
)

// CLI is the command line of the program trainer.
type CLI struct {
	Synth    synthCommand    `cmd:"" help:"Write a synthetic corpus in the challenge's form."`
	Train    trainCommand    `cmd:"" help:"Train both models on a data folder and write a bundle."`
	Import   importCommand   `cmd:"" help:"Make a bundle of other weights: a Hugging Face BERT, or the published checkpoints."`
	Evaluate evaluateCommand `cmd:"" help:"Compare scores with labels: Spearman's rank correlation."`
	Export   exportCommand   `cmd:"" help:"Write the challenge's submission file."`
	Inspect  inspectCommand  `cmd:"" help:"Describe a TFRecord file, a checkpoint, a bundle or a data folder."`
}

type synthCommand struct{ SynthConfig }

func (c *synthCommand) Run(ctx context.Context, env *service.Env) error {
	return Synth(ctx, c.SynthConfig, env)
}

type trainCommand struct{ TrainConfig }

func (c *trainCommand) Run(ctx context.Context, env *service.Env) error {
	result, err := Train(ctx, c.TrainConfig, env)
	if errors.Is(err, context.Canceled) {
		// A run that was stopped has not done its job: whoever started it must not
		// take it for done.
		return errs.New(errs.Unavailable, "%v; --resume goes on from the last checkpoint", err)
	}
	if err != nil || result.Fingerprint == "" { // the process with rank 0 has the result
		return err
	}
	_, err = fmt.Fprintf(env.Stdout, "bundle %s in %s after %v\nspearman=%.4f pairs=%d missing=0\n", result.Fingerprint,
		c.Out, result.Elapsed.Round(time.Second), result.Ensemble, len(result.HeldOut))
	return err
}

type evaluateCommand struct{ EvaluateConfig }

func (c *evaluateCommand) Run(ctx context.Context, env *service.Env) error {
	result, err := Evaluate(ctx, c.EvaluateConfig)
	if err != nil {
		return err
	}
	if len(result.MissingIDs) > 0 {
		env.Log.Warn("videos without an embedding", "pairs", result.Missing, "first_ids", result.MissingIDs)
	}
	_, err = fmt.Fprintf(env.Stdout, "%s%s\n", result.Figures(), Summary(result.Result))
	return err
}

type exportCommand struct{ ExportConfig }

func (c *exportCommand) Run(ctx context.Context, env *service.Env) error {
	n, err := Export(ctx, c.ExportConfig)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(env.Stdout, "%d videos in %s\n", n, c.Out)
	return err
}

type inspectCommand struct {
	Path string `arg:"" type:"path" help:"File or folder to describe."`
}

func (c *inspectCommand) Run(env *service.Env) error { return Inspect(env.Stdout, c.Path) }
