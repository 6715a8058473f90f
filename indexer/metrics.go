package indexer

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics of one indexer. Labels are results, never ids.
type metrics struct {
	embeddings      *prometheus.CounterVec // by result
	batchEmbeddings prometheus.Histogram
	writeSeconds    prometheus.Histogram
	retries         prometheus.Counter
	pending         prometheus.Gauge
	unacknowledged  prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	return &metrics{
		embeddings: f.NewCounterVec(prometheus.CounterOpts{
			Name: "videosim_indexer_embeddings_total",
			Help: "Embeddings settled, by result: applied, deleted, stale, or the kind of the error.",
		}, []string{"result"}),
		batchEmbeddings: f.NewHistogram(prometheus.HistogramOpts{
			Name: "videosim_indexer_batch_embeddings", Help: "Changes in one write.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 14),
		}),
		writeSeconds: f.NewHistogram(prometheus.HistogramOpts{
			Name: "videosim_indexer_write_seconds", Help: "One write until it is visible, retries included.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16), // 0.5 ms to 16 s
		}),
		retries: f.NewCounter(prometheus.CounterOpts{
			Name: "videosim_indexer_retries_total", Help: "Calls to the index that failed and were made again.",
		}),
		pending: f.NewGauge(prometheus.GaugeOpts{
			Name: "videosim_indexer_pending_embeddings", Help: "Embeddings of the stream not yet delivered to an indexer.",
		}),
		unacknowledged: f.NewGauge(prometheus.GaugeOpts{
			Name: "videosim_indexer_unacknowledged_embeddings", Help: "Embeddings delivered and not yet settled.",
		}),
	}
}

// applied counts changes that a write of this duration made: each once, and as
// stale every message that one of them overtook.
func (m *metrics) applied(changes []*change, took time.Duration) {
	m.writeSeconds.Observe(took.Seconds())
	m.batchEmbeddings.Observe(float64(len(changes)))
	for _, c := range changes {
		result := "applied"
		if c.effect.GetDeleted() {
			result = "deleted"
		}
		m.embeddings.WithLabelValues(result).Inc()
		m.embeddings.WithLabelValues("stale").Add(float64(len(c.messages) - 1))
	}
}

// stale counts messages that changed nothing.
func (m *metrics) stale(changes []*change) {
	m.embeddings.WithLabelValues("stale").Add(float64(len(messages(changes))))
}
