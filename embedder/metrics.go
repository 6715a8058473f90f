package embedder

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"videosim/shared/torch"
)

// metrics of one embedder. Labels are lanes and results, never ids.
type metrics struct {
	videos         *prometheus.CounterVec   // by lane and result
	queueSeconds   *prometheus.HistogramVec // by lane
	batchVideos    prometheus.Histogram
	collateSeconds prometheus.Histogram
	mergeSeconds   prometheus.Histogram
	forwardSeconds prometheus.Histogram
	storeSeconds   prometheus.Histogram
	tokens         prometheus.Counter
	splits         prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return f.NewHistogram(prometheus.HistogramOpts{Name: "videosim_embedder_" + name, Help: help, Buckets: buckets})
	}
	seconds := prometheus.ExponentialBuckets(0.0005, 2, 16) // 0.5 ms to 16 s
	return &metrics{
		videos: f.NewCounterVec(prometheus.CounterOpts{
			Name: "videosim_embedder_videos_total",
			Help: "Videos finished, by lane and result: embedded, deleted, unchanged, or the kind of the error.",
		}, []string{"lane", "result"}),
		queueSeconds: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "videosim_embedder_queue_seconds", Help: "Wait of a collated video for the model.", Buckets: seconds,
		}, []string{"lane"}),
		batchVideos:    histogram("batch_videos", "Videos in one batch.", prometheus.ExponentialBuckets(1, 2, 10)),
		collateSeconds: histogram("collate_seconds", "Tokenising and padding one video.", seconds),
		mergeSeconds:   histogram("merge_seconds", "Joining the videos of one batch.", seconds),
		forwardSeconds: histogram("forward_seconds", "One batch through both models, without the time in which it stood aside for others.", seconds),
		storeSeconds:   histogram("store_seconds", "Storing one embedding, retries included.", seconds),
		tokens: f.NewCounter(prometheus.CounterOpts{
			Name: "videosim_embedder_tokens_total", Help: "Tokens sent through the models, padding left out.",
		}),
		splits: f.NewCounter(prometheus.CounterOpts{
			Name: "videosim_embedder_batch_splits_total", Help: "Batches that the model refused and that were halved.",
		}),
	}
}

// watch adds gauges that read the queue and the memory.
func watch(r prometheus.Registerer, q *queue) {
	for l := range lanes {
		promauto.With(r).NewGaugeFunc(prometheus.GaugeOpts{
			Name: "videosim_embedder_queue_videos", Help: "Collated videos that wait for the model.",
			ConstLabels: prometheus.Labels{"lane": l.String()},
		}, func() float64 { return float64(q.depth(l)) })
	}
	promauto.With(r).NewGaugeFunc(prometheus.GaugeOpts{
		Name: "videosim_embedder_tensor_bytes",
		Help: "Memory on the CPU that tensors hold, what libraries keep left out; memory-limit bounds it.",
	}, func() float64 { return float64(torch.Memory()) })
}
