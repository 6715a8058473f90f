package bus

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"videosim/shared/errs"
)

// metrics of all consumers of a bus. A consumer's name holds the model's
// fingerprint, so there are few.
type metrics struct {
	pending, ackPending, redelivered, oldest *prometheus.GaugeVec
	letters                                  *prometheus.CounterVec
}

// newMetrics registers on reg; nil: they are counted and not shown. Buses that
// share a registry share the metrics.
func newMetrics(reg prometheus.Registerer) *metrics {
	gauge := func(name, help string) *prometheus.GaugeVec {
		return register(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "videosim_bus_" + name, Help: help}, []string{"stream", "consumer"}))
	}
	return &metrics{
		pending:     gauge("pending_messages", "Messages that are stored and not delivered yet."),
		ackPending:  gauge("ack_pending_messages", "Messages that are delivered and not settled."),
		redelivered: gauge("redelivered_messages", "Messages in flight that were delivered more than once."),
		oldest:      gauge("oldest_in_flight_seconds", "Age of the oldest message that is held by this process."),
		letters: register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "videosim_bus_dead_letters_total", Help: "Messages that could not be processed, by the kind of error.",
		}, []string{"consumer", "kind"})),
	}
}

func register[C prometheus.Collector](reg prometheus.Registerer, c C) C {
	if reg == nil {
		return c
	}
	err := reg.Register(c)
	var taken prometheus.AlreadyRegisteredError
	if errors.As(err, &taken) {
		if same, ok := taken.ExistingCollector.(C); ok {
			return same
		}
	}
	return c
}

func (m *metrics) consumer(stream, consumer string, info Info, oldest time.Duration) {
	m.pending.WithLabelValues(stream, consumer).Set(float64(info.Pending))
	m.ackPending.WithLabelValues(stream, consumer).Set(float64(info.AckPending))
	m.redelivered.WithLabelValues(stream, consumer).Set(float64(info.Redelivered))
	m.oldest.WithLabelValues(stream, consumer).Set(oldest.Seconds())
}

func (m *metrics) dead(consumer string, kind errs.Kind) {
	m.letters.WithLabelValues(consumer, kind.String()).Inc()
}
