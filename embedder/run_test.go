package embedder

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"videosim/shared/errs"
	"videosim/shared/eval"
	"videosim/shared/event"
	"videosim/shared/service"
	"videosim/shared/testkit"
	"videosim/shared/testkit/tinybundle"
	"videosim/shared/torch"
	"videosim/shared/video"
)

// corpus is n videos of all lengths for the tiny models, some without a title,
// speech or frames.
func corpus(n int) []video.Video {
	r := rand.New(rand.NewPCG(3, 4))
	words := func(most int) string {
		out := make([]rune, r.IntN(most+1))
		for i := range out {
			out[i] = rune(0x4e00 + r.IntN(3000))
		}
		return string(out)
	}
	all := make([]video.Video, n)
	for i := range all {
		frames := video.Frames{Encoding: video.F16, Dim: 128, Count: r.IntN(40)}
		for range frames.Count * frames.Dim {
			half := uint16(0x2c00+r.IntN(0x1000)) | uint16(r.IntN(2))<<15 // ±1/16 to ±1
			frames.Data = append(frames.Data, byte(half), byte(half>>8))
		}
		all[i] = video.Video{ID: fmt.Sprint("v", i), Title: words(40), ASRText: words(60), Frames: frames}
	}
	return all
}

// TestRunOnTheRealModels is the whole service: bundle, engine, both models,
// NATS. What the stream stores, what a request answers, and what the video gets
// alone, is one embedding.
func TestRunOnTheRealModels(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "bundle")
	fingerprint := tinybundle.Write(t, dir)
	b := testkit.Bus(t)
	cfg := testConfig()
	cfg.Bundle, cfg.BatchVideos, cfg.InteractiveSlots = dir, 32, 64
	before := torch.LiveTensors()
	env := service.NewTestEnv(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, cfg, Env{Env: env, Bus: b}) }()
	await(t, "ready", func() bool { ok, _ := ready(env); return ok })

	videos := corpus(200)
	begin := time.Now()
	last := uint64(0)
	for _, v := range videos {
		last = publish(t, b, event.FromVideo(v))
	}
	await(t, "every event settled", func() bool {
		info, err := b.ConsumerInfo(t.Context(), event.StreamVideos, "embedder-"+fingerprint)
		return err == nil && info.Delivered >= last && info.Pending == 0 && info.AckPending == 0
	})
	t.Logf("%d videos in %s", len(videos), time.Since(begin).Round(time.Millisecond))

	different := 0
	var first []float32
	for i, v := range videos {
		e, err := b.LastEmbedding(t.Context(), fingerprint, v.ID)
		if err != nil {
			t.Fatal(err)
		}
		again, err := eval.Combine(e.GetLate(), e.GetEarly())
		if err != nil || !slices.Equal(again, e.GetEmbedding()) || len(again) != 256 {
			t.Errorf("%s: the stored embedding is not the sum of its halves (%v)", v.ID, err)
		}
		if first == nil {
			first = again
		} else if eval.Cosine(first, again) < 0.9999 {
			different++
		}
		if i%5 > 0 {
			continue
		}
		// One request a video: a batch of one row, where the stream's was of many.
		reply, err := b.RequestEmbed(t.Context(), fingerprint, &event.EmbedRequest{Videos: []*event.VideoEvent{event.FromVideo(v)}})
		if err != nil || reply.GetResults()[0].GetError() != "" {
			t.Fatalf("%s: %v %v", v.ID, err, reply)
		}
		if cos := eval.Cosine(reply.GetResults()[0].GetEmbedding(), e.GetEmbedding()); cos < 0.9999 {
			t.Errorf("%s: alone and in a batch: cosine %v, want at least 0.9999", v.ID, cos)
		}
	}
	if different < len(videos)/2 {
		t.Errorf("%d of %d embeddings differ from the first: the input is not what they are made of", different, len(videos))
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	if after := torch.LiveTensors(); after != before {
		t.Errorf("%d tensors live after the service, %d before", after, before)
	}
}

// TestReadyOnlyWhenServing: a connection to NATS alone makes no embedder ready;
// whoever sees it ready gets an answer at once.
func TestReadyOnlyWhenServing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "bundle")
	fingerprint := tinybundle.Write(t, dir)
	nats := testkit.NATS(t)
	b := testkit.Connect(t, nats)
	cfg := testConfig()
	cfg.Bundle, cfg.NATS.URL = dir, nats.ClientURL()
	env := service.NewTestEnv(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, cfg, Env{Env: env}) }()
	for deadline := time.Now().Add(time.Minute); ; runtime.Gosched() {
		if ok, why := ready(env); ok {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("not ready after a minute: %s", why)
		}
	}
	reply, err := b.RequestEmbed(t.Context(), fingerprint, &event.EmbedRequest{Videos: []*event.VideoEvent{event.FromVideo(corpus(1)[0])}})
	if err != nil || reply.GetResults()[0].GetError() != "" {
		t.Errorf("ready, but %v %v", err, reply)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestRunSaysWhatItCannotStartWith(t *testing.T) {
	cfg := testConfig()
	cfg.Bundle = t.TempDir()
	err := Run(t.Context(), cfg, Env{Env: service.NewTestEnv(t)})
	if err == nil || !strings.Contains(err.Error(), cfg.Bundle) {
		t.Errorf("no bundle in the folder: %v, want an error that names it", err)
	}
	cfg.Bundle = ""
	if err := Run(t.Context(), cfg, Env{Env: service.NewTestEnv(t)}); errs.FieldOf(err) != "bundle" {
		t.Errorf("no bundle given: %v, want an error at bundle", err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for field, change := range map[string]func(*Config){
		"bundle":            func(c *Config) { c.Bundle = "" },
		"batch-videos":      func(c *Config) { c.BatchVideos = 0 },
		"batch-tokens":      func(c *Config) { c.BatchTokens = 0 },
		"batch-target":      func(c *Config) { c.BatchTarget = -1 },
		"bulk-slots":        func(c *Config) { c.BulkSlots = maxBulkSlots + 1 },
		"interactive-slots": func(c *Config) { c.InteractiveSlots = 0 },
		"max-deliver":       func(c *Config) { c.MaxDeliver = 0 },
		"threads":           func(c *Config) { c.Threads = -1 },
		"ack-wait":          func(c *Config) { c.AckWait = 0 },
		"store-timeout":     func(c *Config) { c.StoreTimeout = 0 },
		"canary-interval":   func(c *Config) { c.CanaryInterval = 0 },
		"ref-max-bytes":     func(c *Config) { c.Ref.MaxBytes = event.MaxReferencedBytes + 1 },
		"ref-timeout":       func(c *Config) { c.Ref.Timeout = 0 },
		"ref-parallel":      func(c *Config) { c.Ref.Parallel = 0 },
		"replicas":          func(c *Config) { c.NATS.Replicas = 2 },
	} {
		cfg := testConfig()
		if err := cfg.Validate(); err != nil {
			t.Fatal(err)
		}
		change(&cfg)
		if err := cfg.Validate(); errs.FieldOf(err) != field || errs.KindOf(err) != errs.Invalid {
			t.Errorf("%s: %v, want Invalid at that field", field, err)
		}
	}
}
