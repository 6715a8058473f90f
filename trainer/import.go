package trainer

import (
	"context"
	"encoding/json"
	"fmt"

	"videosim/shared/bundle"
	"videosim/shared/errs"
	"videosim/shared/model"
	"videosim/shared/service"
	"videosim/shared/text"
	"videosim/shared/torch"
)

// ImportConfig says what to make a bundle of: either a Hugging Face folder, or
// the published system's two checkpoints.
type ImportConfig struct {
	Out string `name:"out" required:"" type:"path" help:"Bundle to write; an older bundle there is replaced."`

	HF    string `name:"hf" type:"path" help:"Hugging Face folder of a BERT (config.json, vocab.txt, weights): it becomes the text encoder of both models, all else gets new values for training."`
	Late  string `name:"late" type:"path" help:"Checkpoint of late fusion (SIMNET 13) as the published system's training wrote it; together with --early it makes a ready bundle."`
	Early string `name:"early" type:"path" help:"Checkpoint of early fusion after finetuning."`

	Preset               string `name:"preset" enum:"tiny,base" default:"base" help:"With --hf: sizes of everything but the text encoder."`
	Data                 string `name:"data" type:"path" help:"With --hf: data folder to train on later, which tells the frame width and the number of tags. With --labels: the records of the judged videos."`
	FrameDim             int    `name:"frame-dim" help:"With --hf: numbers in a frame; 0 takes those of the data, else the preset's."`
	Tags                 int    `name:"tags" help:"With --hf: number of tags; 0 takes that of the data, else the preset's."`
	Seed                 uint64 `name:"seed" default:"1" help:"With --hf: seed of the new values."`
	LiteralSpecialTokens string `name:"literal-special-tokens" enum:"ids,text" default:"ids" help:"With --hf: what [SEP] typed into a title becomes: the token's id as in Hugging Face's tokenizer, or ordinary text. The published checkpoints want ids."`

	CrossHeads int    `name:"cross-heads" help:"Attention heads of the cross-modal encoder; 0 takes the preset's where they divide its width (--hf), or 8."`
	Heads      int    `name:"heads" default:"12" help:"With --late and --early: attention heads of the text encoders, which no checkpoint tells."`
	VideoHeads int    `name:"video-heads" default:"12" help:"With --late and --early: attention heads of the frame encoder."`
	Labels     string `name:"labels" type:"path" help:"With --late and --early: judged pairs of videos in --data, to which the scale of the scores is fitted."`
	Vocab      string `name:"vocab" type:"path" help:"With --late and --early: vocabulary, a token a line, where it is not that of BERT-base, Chinese."`
}

// Imported is what Import made.
type Imported struct {
	Fingerprint string
	Model       model.Config
	Notes       []string // what was left out or changed
}

// Validate says what is wrong with c, as Invalid with the flag.
func (c ImportConfig) Validate() error {
	checkpoints := c.Late != "" || c.Early != ""
	switch {
	case c.Out == "":
		return errs.Field("out", "expected a folder, found none")
	case c.HF != "" && checkpoints:
		return errs.Field("hf", "expected either a Hugging Face folder or --late and --early, found both")
	case c.HF == "" && !checkpoints:
		return errs.Field("hf", "expected a Hugging Face folder, or checkpoints by --late and --early, found neither")
	case checkpoints && c.Late == "":
		return errs.Field("late", "expected the checkpoint of late fusion beside that of early fusion, found none")
	case checkpoints && c.Early == "":
		return errs.Field("early", "expected the checkpoint of early fusion beside that of late fusion, found none")
	case checkpoints && (c.Data == "") != (c.Labels == ""):
		return errs.Field("labels", "expected --labels and --data together, or neither, found one")
	case c.Labels != "" && c.HF != "":
		return errs.Field("labels", "expected none with --hf, whose bundle has to be trained first, found %s", c.Labels)
	case c.Vocab != "" && c.HF != "":
		return errs.Field("vocab", "expected none with --hf, whose folder has its own, found %s", c.Vocab)
	}
	for _, n := range []struct {
		flag  string
		value int
	}{{"frame-dim", c.FrameDim}, {"tags", c.Tags}, {"heads", c.Heads}, {"video-heads", c.VideoHeads}, {"cross-heads", c.CrossHeads}} {
		if n.value < 0 || n.value > maxWidth {
			return errs.Field(n.flag, "expected 0 to %d, found %d", maxWidth, n.value)
		}
	}
	return nil
}

// maxWidth bounds every size that a flag or a checkpoint gives: far above any
// model of this kind, and low enough to allocate.
const maxWidth = 1 << 20

// Import makes a bundle of other people's weights and returns what it is.
func Import(ctx context.Context, cfg ImportConfig) (Imported, error) {
	if err := cfg.Validate(); err != nil {
		return Imported{}, err
	}
	fill(&cfg.Heads, 12) // the command line sets these; a caller inside the process need not
	fill(&cfg.VideoHeads, 12)
	fill(&cfg.Preset, "base")
	fill(&cfg.LiteralSpecialTokens, text.LiteralIDs)
	if cfg.HF != "" {
		return importEncoder(ctx, cfg)
	}
	return importReference(ctx, cfg)
}

// importEngine is what networks are built on: the CPU, whose random numbers do
// not depend on the machine's other devices.
func importEngine(seed uint64) (*torch.Engine, error) {
	e, err := torch.Start(torch.EngineConfig{Device: "cpu", Seed: seed})
	if err != nil {
		return nil, fmt.Errorf("start the engine: %w", err)
	}
	return e, nil
}

// writeImported writes the bundle of an imported model.
func writeImported(dir string, m model.Config, c bundle.Contents) (string, error) {
	config, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return "", fmt.Errorf("encode the model config: %w", err)
	}
	c.Config = append(config, '\n')
	c.Manifest.EmbeddingDim, c.Manifest.FrameDim = m.Embedding, m.Video.FrameDim
	return bundle.Write(dir, c)
}

// fitVocab makes sure that every id has a row in the word table, and tells the
// model which of them is padding.
func fitVocab(vocab []byte, m *model.Config) error {
	tokenizer, err := text.New(vocab, m.TextOptions())
	if err != nil {
		return err
	}
	if tokenizer.Size() > m.Text.Vocab {
		return errs.Field("vocab", "expected at most %d tokens, as many as the word table has rows, found %d", m.Text.Vocab, tokenizer.Size())
	}
	m.Text.PadToken = int(tokenizer.Pad())
	return nil
}

type importCommand struct{ ImportConfig }

func (c *importCommand) Run(ctx context.Context, env *service.Env) error {
	made, err := Import(ctx, c.ImportConfig)
	if err != nil {
		return err
	}
	for _, note := range made.Notes {
		env.Log.Info("import", "note", note)
	}
	m := made.Model
	_, err = fmt.Fprintf(env.Stdout, "bundle %s in %s: text encoder %d × %d, %d tokens; frames of %d; %d tags\n",
		made.Fingerprint, c.Out, m.Text.Layers, m.Text.Hidden, m.Text.Vocab, m.Video.FrameDim, m.Tags)
	return err
}
