package meter

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"videosim/gateway/query"
	"videosim/shared/event"
)

// Source is where the truth is. *bus.Bus is the real one.
type Source interface {
	ScanEmbeddings(ctx context.Context, fingerprint string, perSecond int, each func(*event.Embedding) error) error
	SampleEmbeddings(ctx context.Context, fingerprint string, n int) ([]*event.Embedding, error)
}

// Bounds of a round.
const (
	roundQueries   = 8      // live queries checked a round: 8 products a video scanned
	scanPerSecond  = 20_000 // videos a second: 1,000,000 take 50 s and some percent of a core
	driftVideos    = 1_000
	longestScan    = time.Hour
	minDriftVideos = 20
)

// Meter samples answered queries and checks them in rounds. It is safe for
// concurrent use.
type Meter struct {
	source      Source
	fingerprint string
	log         *slog.Logger
	gauges      gauges

	mu    sync.Mutex
	seen  int // answers since the round before
	asked []*asked
}

// New returns a meter whose gauges are NaN until its first round.
func New(source Source, fingerprint string, log *slog.Logger, reg prometheus.Registerer) *Meter {
	return &Meter{source: source, fingerprint: fingerprint, log: log, gauges: newGauges(reg)}
}

// Watch takes an answer into the sample with the chance that makes every
// answer since the last round equally likely to be in it (reservoir sampling).
// It costs a query less than a microsecond.
func (m *Meter) Watch(a query.Answered) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seen++
	if len(m.asked) < roundQueries {
		m.asked = append(m.asked, newAsked(a))
	} else if i := rand.IntN(m.seen); i < roundQueries {
		m.asked[i] = newAsked(a)
	}
}

// Run makes a round every interval until ctx ends.
func (m *Meter) Run(ctx context.Context, interval time.Duration) error {
	ticks := time.NewTicker(interval)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticks.C:
		}
		if err := m.Round(ctx); err != nil && ctx.Err() == nil {
			m.gauges.failures.Inc()
			m.log.Warn("quality was not measured", "error", err)
		}
	}
}

// Round measures drift, then checks the queries sampled since the round before.
func (m *Meter) Round(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, longestScan)
	defer cancel()
	start := time.Now()
	sample, err := m.source.SampleEmbeddings(ctx, m.fingerprint, driftVideos)
	if err != nil {
		return fmt.Errorf("sample embeddings: %w", err)
	}
	if len(sample) >= minDriftVideos {
		m.gauges.drift(measure(sample))
	}
	if err := m.check(ctx); err != nil {
		return fmt.Errorf("check queries: %w", err)
	}
	m.gauges.seconds.Set(time.Since(start).Seconds())
	return nil
}

// check answers the sampled queries with one pass.
func (m *Meter) check(ctx context.Context) error {
	m.mu.Lock()
	queries := m.asked
	m.asked, m.seen = nil, 0
	m.mu.Unlock()
	if len(queries) == 0 {
		return nil
	}
	err := m.source.ScanEmbeddings(ctx, m.fingerprint, scanPerSecond, func(e *event.Embedding) error {
		for _, q := range queries {
			q.meet(e)
		}
		return nil
	})
	if err != nil {
		return err
	}
	sum, checked := 0.0, 0
	for _, q := range queries {
		if share, ok := q.recall(); ok {
			sum, checked = sum+share, checked+1
		}
	}
	if checked > 0 {
		m.gauges.recall.Set(sum / float64(checked))
		m.gauges.checked.Add(float64(checked))
	}
	return nil
}

// gauges are what a round leaves behind.
type gauges struct {
	recall, seconds, normError, shift, noise prometheus.Gauge
	halves, missing                          *prometheus.GaugeVec
	checked, failures                        prometheus.Counter
}

func newGauges(reg prometheus.Registerer) gauges {
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "videosim_gateway_" + name, Help: help})
		g.Set(math.NaN()) // not measured yet
		return g
	}
	g := gauges{
		recall:    gauge("recall_at_k", "Share of the true best that answers hold: mean over the queries checked in the last round."),
		seconds:   gauge("quality_round_seconds", "How long the last round of checks took."),
		normError: gauge("embedding_norm_error", "Largest distance of an embedding's norm from 1 in the last sample."),
		shift:     gauge("embedding_mean_shift", "Distance between the means of the older and the newer half of the last sample."),
		noise:     gauge("embedding_mean_shift_noise", "What chance alone makes of embedding_mean_shift; twice as much is a drift."),
		halves:    prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "videosim_gateway_embedding_half_norm", Help: "Mean norm of the halves in the last sample."}, []string{"half"}),
		missing:   prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "videosim_gateway_missing_modality_share", Help: "Share of videos without a modality in the last sample."}, []string{"modality"}),
		checked:   prometheus.NewCounter(prometheus.CounterOpts{Name: "videosim_gateway_recall_queries_total", Help: "Live queries that were answered exactly as well."}),
		failures:  prometheus.NewCounter(prometheus.CounterOpts{Name: "videosim_gateway_quality_failures_total", Help: "Rounds of checks that failed; the log says why."}),
	}
	reg.MustRegister(g.recall, g.seconds, g.normError, g.shift, g.noise, g.halves, g.missing, g.checked, g.failures)
	return g
}

func (g gauges) drift(d Drift) {
	g.normError.Set(d.NormError)
	g.shift.Set(d.Shift)
	g.noise.Set(d.Noise)
	g.halves.WithLabelValues("late").Set(d.LateNorm)
	g.halves.WithLabelValues("early").Set(d.EarlyNorm)
	g.missing.WithLabelValues("title").Set(d.MissingTitle)
	g.missing.WithLabelValues("speech").Set(d.MissingSpeech)
	g.missing.WithLabelValues("frames").Set(d.MissingFrames)
}
