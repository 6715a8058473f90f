package indexer

import (
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

// count adds a batch to the counters: each change once, and as stale every
// message that it overtook.
func (m *metrics) count(fresh, stale []*change) {
	for _, c := range fresh {
		result := "applied"
		if c.effect.GetDeleted() {
			result = "deleted"
		}
		m.embeddings.WithLabelValues(result).Inc()
		m.embeddings.WithLabelValues("stale").Add(float64(len(c.messages) - 1))
	}
	for _, c := range stale {
		m.embeddings.WithLabelValues("stale").Add(float64(len(c.messages)))
	}
}
