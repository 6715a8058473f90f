package trainer

import (
	"math"
	"runtime"
	"strings"
	"time"

	"videosim/shared/errs"
)

// TrainConfig is everything that decides a training run: two runs with equal
// configs and equal data on one CPU build end in equal bundles. Settings that
// are left at their zero value take the preset's.
type TrainConfig struct {
	Data string `name:"data" required:"" type:"path" help:"Folder of training data: pointwise/*.tfrecords, pairwise/*.tfrecords, label.tsv, tag_list.txt."`
	Out  string `name:"out" required:"" type:"path" help:"Bundle folder to write; replaced as a whole once training has ended."`
	Work string `name:"work" type:"path" help:"Folder for metrics.jsonl and held_out.tsv; by default the bundle's name with .run behind it."`

	From            string        `name:"from" type:"path" help:"Bundle whose weights training starts from, such as an imported text encoder, in place of new ones."`
	Resume          bool          `name:"resume" help:"Go on from the last checkpoint in the work folder, as if the run had never stopped."`
	CheckpointEvery time.Duration `name:"checkpoint-every" default:"10m" help:"Time between two checkpoints inside an epoch; the end of every epoch writes one, too."`
	Report          string        `name:"report" type:"path" help:"HTML page to write at the end: loss curves, Spearman by epoch, scores against labels."`
	Strict          bool          `name:"strict" help:"Stop at the first record or label with a mistake, instead of counting and listing them; a video without title or frames is one."`

	Preset  string  `name:"preset" enum:"tiny,base" default:"base" help:"Sizes and schedule: base is the published system's, tiny trains in two minutes on two cores."`
	Seed    uint64  `name:"seed" default:"1" help:"Seed of the split, the data order, the initial weights and dropout."`
	HeldOut float64 `name:"held-out" help:"Share of the labelled pairs that is kept for measuring, in (0, 0.5]; 0 takes the preset's."`

	Device     string `name:"device" enum:"cpu,cuda,auto" default:"auto" help:"Where tensors live."`
	Precision  string `name:"precision" enum:"fp32,bf16,auto" default:"fp32" help:"Arithmetic of the networks: bf16 computes matrix products in bfloat16 and keeps weights and optimiser in fp32; auto takes bf16 where the device has it."`
	MicroBatch int    `name:"micro-batch" help:"Videos that go through a network at once; a larger batch is taken in parts whose gradients add up. 0 takes batches whole."`
	Threads    int    `name:"threads" help:"Threads of the tensor engine; 0 takes the cores."`
	Loaders    int    `name:"loaders" default:"1" help:"Goroutines that read, parse and tokenise the batches to come."`
	LogEvery   int    `name:"log-every" default:"20" help:"Steps between two lines of metrics.jsonl."`

	Dropout *float64 `name:"dropout" help:"Share of values that training drops, in place of the preset's; 0 makes runs comparable number by number."`

	AttendPaddingFrames  bool   `name:"attend-padding-frames" help:"Let real frames attend to padding frames, as the published checkpoints do."`
	LiteralSpecialTokens string `name:"literal-special-tokens" enum:"text,ids" default:"text" help:"What [SEP] typed into a title becomes: ordinary text, or the token's id as in the published checkpoints."`

	PretrainText  StageConfig `embed:"" prefix:"pretrain-text-" group:"Pretraining of the text encoder:" json:"pretrain_text"`
	PretrainVideo StageConfig `embed:"" prefix:"pretrain-video-" group:"Pretraining of the frame encoder:" json:"pretrain_video"`
	PretrainCross StageConfig `embed:"" prefix:"pretrain-cross-" group:"Pretraining of the cross-modal encoder:" json:"pretrain_cross"`
	FinetuneLate  StageConfig `embed:"" prefix:"finetune-late-" group:"Finetuning of late fusion:" json:"finetune_late"`
	FinetuneEarly StageConfig `embed:"" prefix:"finetune-early-" group:"Finetuning of early fusion:" json:"finetune_early"`
}

// StageConfig is the schedule of one stage. A zero field takes the preset's.
type StageConfig struct {
	LearningRate float64 `name:"learning-rate" help:"Peak learning rate; 0 takes the preset's."`
	Epochs       int     `name:"epochs" help:"Passes over the stage's data; 0 takes the preset's."`
	Batch        int     `name:"batch" help:"Videos a step in pretraining, pairs in finetuning; 0 takes the preset's."`
	Warmup       float64 `name:"warmup" help:"Share of the steps over which the learning rate rises from 0; 0 takes the preset's."`
	Freeze       string  `name:"freeze" help:"Finetuning only: towers keeps the pretrained encoders as they are, none trains everything; empty takes the preset's."`
	FrozenMode   string  `name:"frozen-mode" help:"Finetuning only: train leaves dropout on inside frozen encoders, as the published system does, eval turns it off; empty takes the preset's."`
}

// Values of StageConfig.Freeze and StageConfig.FrozenMode.
const (
	FreezeTowers = "towers"
	FreezeNone   = "none"
	FrozenTrain  = "train"
	FrozenEval   = "eval"
)

// schedule is what a preset says about training, as model.Preset says it about
// sizes.
type schedule struct {
	heldOut                                                                 float64
	pretrainText, pretrainVideo, pretrainCross, finetuneLate, finetuneEarly StageConfig

	// pairwise says whether the videos of the labelled pairs that are not held
	// out take part in tag pretraining. The published system keeps them out; a
	// small corpus cannot do without.
	pairwise bool
}

// presetSchedule returns the schedule of a preset that TrainConfig allows.
func presetSchedule(name string) schedule {
	if name == "tiny" {
		return tinySchedule()
	}
	return baseSchedule()
}

// baseSchedule is the published system's: its scripts' constants.
func baseSchedule() schedule {
	pretrain := StageConfig{LearningRate: 5e-5, Epochs: 20, Batch: 256, Warmup: 0.05, Freeze: FreezeNone, FrozenMode: FrozenTrain}
	cross := pretrain
	cross.Batch = 200
	return schedule{
		heldOut:       0.1,
		pretrainText:  pretrain,
		pretrainVideo: pretrain,
		pretrainCross: cross,
		finetuneLate:  StageConfig{LearningRate: 3e-4, Epochs: 15, Batch: 256, Warmup: 0.05, Freeze: FreezeTowers, FrozenMode: FrozenTrain},
		finetuneEarly: StageConfig{LearningRate: 2e-5, Epochs: 10, Batch: 128, Warmup: 0.05, Freeze: FreezeTowers, FrozenMode: FrozenTrain},
	}
}

// tinySchedule was found by experiment on synthetic corpora of 3,000 videos:
// the text encoders start from nothing, so the rates are those of training
// from scratch.
func tinySchedule() schedule {
	pretrain := StageConfig{LearningRate: 8e-4, Epochs: 3, Batch: 32, Warmup: 0.2, Freeze: FreezeNone, FrozenMode: FrozenEval}
	words := pretrain
	words.Epochs = 5
	return schedule{
		heldOut:       0.15,
		pretrainText:  words,
		pretrainVideo: pretrain,
		pretrainCross: pretrain,
		finetuneLate:  StageConfig{LearningRate: 2e-3, Epochs: 10, Batch: 64, Warmup: 0.1, Freeze: FreezeTowers, FrozenMode: FrozenEval},
		finetuneEarly: StageConfig{LearningRate: 5e-4, Epochs: 2, Batch: 32, Warmup: 0.1, Freeze: FreezeTowers, FrozenMode: FrozenEval},
		pairwise:      true,
	}
}

// withPreset fills what c leaves open. c has passed Validate.
func (c TrainConfig) withPreset() TrainConfig {
	p := presetSchedule(c.Preset)
	c.PretrainText = c.PretrainText.or(p.pretrainText)
	c.PretrainVideo = c.PretrainVideo.or(p.pretrainVideo)
	c.PretrainCross = c.PretrainCross.or(p.pretrainCross)
	c.FinetuneLate = c.FinetuneLate.or(p.finetuneLate)
	c.FinetuneEarly = c.FinetuneEarly.or(p.finetuneEarly)
	fill(&c.HeldOut, p.heldOut)
	fill(&c.Work, workFolder(c.Out))
	fill(&c.Threads, runtime.GOMAXPROCS(0))
	// The command line sets these; a caller inside the process need not.
	fill(&c.Device, "auto")
	fill(&c.Precision, "fp32")
	fill(&c.CheckpointEvery, 10*time.Minute)
	fill(&c.Loaders, 1)
	fill(&c.LogEvery, 20)
	fill(&c.LiteralSpecialTokens, "text")
	return c
}

// workFolder is where a run that writes the bundle out keeps its own files.
func workFolder(out string) string { return strings.TrimRight(out, "/") + ".run" }

func (c StageConfig) or(d StageConfig) StageConfig {
	fill(&c.LearningRate, d.LearningRate)
	fill(&c.Epochs, d.Epochs)
	fill(&c.Batch, d.Batch)
	fill(&c.Warmup, d.Warmup)
	fill(&c.Freeze, d.Freeze)
	fill(&c.FrozenMode, d.FrozenMode)
	return c
}

func fill[T comparable](field *T, preset T) {
	var zero T
	if *field == zero {
		*field = preset
	}
}

// Validate checks a config as a caller gives it, before the preset fills it.
func (c TrainConfig) Validate() error {
	switch {
	case c.Data == "":
		return errs.Field("data", "expected a folder, found none")
	case c.Out == "":
		return errs.Field("out", "expected a folder, found none")
	case c.Preset != "tiny" && c.Preset != "base":
		return errs.Field("preset", "expected tiny or base, found %q", c.Preset)
	case !(c.HeldOut >= 0 && c.HeldOut <= 0.5):
		return errs.Field("held-out", "expected a share from 0 to 0.5, found %v", c.HeldOut)
	case c.Dropout != nil && !(*c.Dropout >= 0 && *c.Dropout < 1):
		return errs.Field("dropout", "expected a share from 0 to below 1, found %v", *c.Dropout)
	case c.Precision != "" && c.Precision != "fp32" && c.Precision != "bf16" && c.Precision != "auto":
		return errs.Field("precision", "expected fp32, bf16 or auto, found %q", c.Precision)
	case c.MicroBatch < 0:
		return errs.Field("micro-batch", "expected 0 or more, found %d", c.MicroBatch)
	case c.CheckpointEvery < 0:
		return errs.Field("checkpoint-every", "expected a duration from 0 up, found %v", c.CheckpointEvery)
	case c.Threads < 0:
		return errs.Field("threads", "expected 0 or more, found %d", c.Threads)
	case c.Loaders < 0:
		return errs.Field("loaders", "expected 1 or more, found %d", c.Loaders)
	case c.LogEvery < 0:
		return errs.Field("log-every", "expected 1 or more, found %d", c.LogEvery)
	case c.LiteralSpecialTokens != "" && c.LiteralSpecialTokens != "text" && c.LiteralSpecialTokens != "ids":
		return errs.Field("literal-special-tokens", "expected text or ids, found %q", c.LiteralSpecialTokens)
	}
	for _, s := range c.stages() {
		if err := s.cfg.validate(s.prefix); err != nil {
			return err
		}
	}
	return nil
}

// stageSettings are a stage's schedule and the prefix of its flags.
type stageSettings struct {
	prefix string
	cfg    StageConfig
}

func (c TrainConfig) stages() []stageSettings {
	return []stageSettings{
		{"pretrain-text", c.PretrainText},
		{"pretrain-video", c.PretrainVideo},
		{"pretrain-cross", c.PretrainCross},
		{"finetune-late", c.FinetuneLate},
		{"finetune-early", c.FinetuneEarly},
	}
}

func (c StageConfig) validate(prefix string) error {
	switch {
	case !(c.LearningRate >= 0) || math.IsInf(c.LearningRate, 0):
		return errs.Field(prefix+"-learning-rate", "expected a number from 0 up, found %v", c.LearningRate)
	case c.Epochs < 0:
		return errs.Field(prefix+"-epochs", "expected 0 or more, found %d", c.Epochs)
	case c.Batch < 0 || c.Batch == 1:
		return errs.Field(prefix+"-batch", "expected 0 or at least 2 (batch normalisation needs two), found %d", c.Batch)
	case !(c.Warmup >= 0 && c.Warmup < 1):
		return errs.Field(prefix+"-warmup", "expected a share from 0 to below 1, found %v", c.Warmup)
	case c.Freeze != "" && c.Freeze != FreezeTowers && c.Freeze != FreezeNone:
		return errs.Field(prefix+"-freeze", "expected %s or %s, found %q", FreezeTowers, FreezeNone, c.Freeze)
	case c.FrozenMode != "" && c.FrozenMode != FrozenTrain && c.FrozenMode != FrozenEval:
		return errs.Field(prefix+"-frozen-mode", "expected %s or %s, found %q", FrozenTrain, FrozenEval, c.FrozenMode)
	}
	return nil
}
