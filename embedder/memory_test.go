package embedder

import (
	"context"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"videosim/shared/errs"
	"videosim/shared/event"
	"videosim/shared/model"
	"videosim/shared/service"
	"videosim/shared/testkit"
	"videosim/shared/testkit/tinybundle"
	"videosim/shared/torch"
)

// TestMemoryLimit gives the service so little memory that its largest batches do
// not fit: they are halved, and every video is embedded.
func TestMemoryLimit(t *testing.T) {
	defer torch.LimitMemory(torch.NoLimit)
	dir := filepath.Join(t.TempDir(), "bundle")
	fingerprint := tinybundle.Write(t, dir)
	cfg := defaultConfig(t, dir)
	cfg.BatchVideos, cfg.MemoryLimit = 128, 1<<20
	env := Env{Env: service.NewTestEnv(t), Bus: testkit.Bus(t)}
	if err := Run(t.Context(), cfg, env); errs.FieldOf(err) != "memory-limit" || errs.KindOf(err) != errs.Invalid {
		t.Fatalf("a limit of 1 MiB: %v, want Invalid at memory-limit", err)
	}
	tiny, err := model.Preset("tiny")
	if err != nil {
		t.Fatal(err)
	}
	held, err := heldBytes()
	if err != nil {
		t.Fatal(err)
	}
	const passes = 2 << 20
	cfg.MemoryLimit = held + cachesBytes + cfg.slotBytes(tiny.Collate(true)) + 64<<20 // room to load the model again
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, cfg, env) }()
	await(t, "ready", func() bool { ok, _ := ready(env.Env); return ok })
	torch.LimitMemory(torch.Memory() + passes)
	testkit.Publish(t, env.Bus, corpus(200))
	await(t, "every video embedded", func() bool {
		info, err := env.Bus.ConsumerInfo(t.Context(), event.StreamVideos, "embedder-"+fingerprint)
		return err == nil && info.AckFloor >= 200
	})
	answer := httptest.NewRecorder()
	env.Admin.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	page := answer.Body.String()
	if strings.Contains(page, "videosim_embedder_batch_splits_total 0\n") {
		t.Error("no batch was halved")
	}
	if !strings.Contains(page, "videosim_embedder_videos_total{lane=\"bulk\",result=\"embedded\"} 200\n") {
		t.Errorf("not all of 200 videos were embedded:\n%s", page)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	scope := torch.NewScope()
	defer scope.Close()
	if failure := torch.Try(func() { torch.Zeros(scope, torch.Float32, torch.CPU, 64<<20) }); failure != nil {
		t.Errorf("256 MiB for others after the service's end: %v", failure)
	}
}
