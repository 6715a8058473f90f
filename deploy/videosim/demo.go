package videosim

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"videosim/shared/bus"
	"videosim/shared/errs"
	"videosim/shared/service"
	"videosim/shared/video"
	"videosim/trainer"
)

// DemoConfig is the main job from nothing.
type DemoConfig struct {
	Dir    string `help:"Folder for everything the demo makes. What an earlier demo left there is replaced." default:"demo" placeholder:"DIR" type:"path"`
	Data   string `help:"Run on this data folder (pointwise/*.tfrecords, pairwise/*.tfrecords, label.tsv, tag_list.txt) instead of making a corpus." placeholder:"DIR" type:"path"`
	Bundle string `help:"Serve this bundle instead of training one." placeholder:"DIR" type:"path"`
	Exit   bool   `help:"Stop after the evaluation instead of serving."`

	Videos     int     `help:"Videos of the corpus." default:"3000"`
	Pairs      int     `help:"Judged pairs of the corpus." default:"3000"`
	Seed       uint64  `help:"Seed of the corpus and of the training." default:"1"`
	LabelNoise float64 `help:"Standard deviation of the judgements, on their scale of 0 to 1." default:"0"`
	Preset     string  `help:"Sizes of the models and of the corpus' frames." enum:"tiny,base" default:"tiny"`

	SuiteConfig
}

// Demo makes a corpus, trains both models on it, starts the suite, publishes
// every video as a producer would, asks what a product would ask, evaluates,
// and serves until ctx ends.
func Demo(ctx context.Context, cfg DemoConfig, env *service.Env) error {
	d := &demo{cfg: cfg, env: env, began: time.Now()}
	if err := d.clear(); err != nil {
		return err
	}
	if err := d.corpus(ctx); err != nil {
		return err
	}
	if err := d.train(ctx); err != nil {
		return err
	}
	return d.withSuite(ctx, func(ctx context.Context, c *client) error {
		last, err := d.publish(ctx, c)
		if err != nil {
			return err
		}
		if err := d.ask(ctx, c); err != nil {
			return err
		}
		if err := d.evaluate(ctx, c); err != nil {
			return err
		}
		d.say("\nDone in %s. Last sequence: %d.", time.Since(d.began).Round(time.Second), last)
		if cfg.Exit {
			return nil
		}
		d.say("Serving on %s (try %s/v1/videos/%s/similar?k=3). Stop with Ctrl-C.", c.base, c.base, d.samples[0].ID)
		<-ctx.Done()
		return nil
	})
}

// demo is what the steps of one demo share.
type demo struct {
	cfg     DemoConfig
	env     *service.Env
	began   time.Time
	data    string // the data folder
	bundle  string
	heldOut string // label.tsv of the pairs no stage learned from; "" without training
	samples []video.Video
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.env.Stdout, format+"\n", args...) }

// step begins a part of the demo with its number and what it is about.
func (d *demo) step(n int, format string, args ...any) {
	d.say("\n[%d/6] %s", n, fmt.Sprintf(format, args...))
}

// marker says that a folder was made by a demo, and so may be replaced by one.
const marker = ".videosim-demo"

// clear empties the demo's folder, unless it holds something else.
func (d *demo) clear() error {
	entries, err := os.ReadDir(d.cfg.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := os.Stat(filepath.Join(d.cfg.Dir, marker)); len(entries) > 0 && err != nil {
		return errs.Field("dir", "expected an empty folder or one that an earlier demo made, found other files in %s", d.cfg.Dir)
	}
	if err := os.RemoveAll(d.cfg.Dir); err != nil {
		return err
	}
	if err := os.MkdirAll(d.cfg.Dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(d.cfg.Dir, marker), nil, 0o644)
}

func (d *demo) corpus(ctx context.Context) error {
	if d.cfg.Data != "" {
		d.data = d.cfg.Data
		d.step(1, "Corpus: %s", d.data)
		return nil
	}
	d.data = filepath.Join(d.cfg.Dir, "corpus")
	d.step(1, "Corpus: %d synthetic videos and %d judged pairs, seed %d, into %s", d.cfg.Videos, d.cfg.Pairs, d.cfg.Seed, d.data)
	synth, err := video.SynthPreset(d.cfg.Preset, d.cfg.Videos, d.cfg.Pairs, d.cfg.Seed)
	if err != nil {
		return err
	}
	synth.LabelNoise = d.cfg.LabelNoise
	return video.Synthesize(d.data, synth, func(int, int) {})
}

func (d *demo) train(ctx context.Context) error {
	if d.cfg.Bundle != "" {
		d.bundle = d.cfg.Bundle
		d.step(2, "Models: %s", d.bundle)
		return nil
	}
	d.bundle = filepath.Join(d.cfg.Dir, "bundle")
	d.step(2, "Training: late fusion and early fusion, preset %s", d.cfg.Preset)
	result, err := trainer.Train(ctx, trainer.TrainConfig{
		Data: d.data, Out: d.bundle, Preset: d.cfg.Preset, Seed: d.cfg.Seed,
		Device: d.cfg.Embedder.Device, Loaders: 1, LogEvery: 20, LiteralSpecialTokens: "text",
	}, d.env)
	if err != nil {
		return err
	}
	d.heldOut = result.HeldOutPath
	d.say("Trained in %s. Spearman on %d held-out pairs: untrained %.4f, late %.4f, early %.4f, together %.4f.",
		result.Elapsed.Round(time.Second), len(result.HeldOut), result.Untrained, result.Late, result.Early, result.Ensemble)
	return nil
}

// withSuite runs use beside the suite and stops the suite after it.
func (d *demo) withSuite(ctx context.Context, use func(context.Context, *client) error) error {
	d.step(3, "Suite: NATS, indexer, embedder and gateway in this process")
	suite := d.cfg.SuiteConfig
	suite.Server.StoreDir = filepath.Join(d.cfg.Dir, filepath.Base(suite.Server.StoreDir))
	c := &client{base: "http://" + suite.Gateway.Listen}
	up := func(ctx context.Context) error {
		return Up(ctx, UpConfig{Bundle: d.bundle, SuiteConfig: suite}, d.env)
	}
	done := errors.New("done")
	err := operate(ctx, []part{{"suite", up}, {"demo", func(ctx context.Context) error {
		if err := c.waitServing(ctx, time.Minute); err != nil {
			return err
		}
		d.say("Gateway on %s, NATS on %s.", c.base, d.natsURL())
		if err := use(ctx, c); err != nil {
			return err
		}
		return done
	}}})
	if errors.Is(err, done) {
		return nil
	}
	return err
}

func (d *demo) natsURL() string {
	return fmt.Sprintf("nats://%s", net.JoinHostPort(d.cfg.Server.Host, fmt.Sprint(d.cfg.Server.Port)))
}

// publish sends every video from a connection of its own, as an outside
// producer would, and waits until the last is searchable.
func (d *demo) publish(ctx context.Context, c *client) (last uint64, err error) {
	folder, err := video.OpenFolder(d.data)
	if err != nil {
		return 0, err
	}
	defer folder.Close()
	d.step(4, "Publishing %d videos on %s", folder.Pointwise.Len()+folder.Pairwise.Len(), d.natsURL())
	producer, err := bus.Connect(ctx, bus.Config{URL: d.natsURL(), Token: d.cfg.Server.Token, Name: "demo-producer"})
	if err != nil {
		return 0, err
	}
	defer producer.Close()
	began := time.Now()
	total, last, err := feed(ctx, producer, folder)
	if err != nil {
		return 0, err
	}
	published := time.Since(began)
	if d.samples, err = samples(folder); err != nil {
		return 0, err
	}
	if err := c.waitIndexed(ctx, d.samples[0].ID, last, 30*time.Minute); err != nil {
		return 0, fmt.Errorf("wait until sequence %d is searchable: %w", last, err)
	}
	searchable := time.Since(began)
	d.say("Published in %.1f s (%.0f videos/s, each synced to disk); all searchable after %.1f s (%.0f videos/s).",
		published.Seconds(), float64(total)/published.Seconds(), searchable.Seconds(), float64(total)/searchable.Seconds())
	return last, nil
}
