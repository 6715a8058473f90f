package embedder

import "time"

// pace says how large the next batch may be, by what earlier ones showed: how
// long a position takes, so that no batch keeps a query waiting much longer
// than the target; and what the device's memory refused, so that the same
// batch is not tried again and again. It belongs to the batcher's goroutine.
type pace struct {
	target time.Duration // of one batch; 0: any
	most   int           // positions that memory is known to allow; 0: no refusal yet
	each   float64       // seconds a position, smoothed; 0: not known yet
}

// smoothing is the weight of the newest batch: one odd batch does little, and
// ten batches after a change of load the figure is 90 % of the new one.
const smoothing = 0.2

// ran notes a batch that succeeded.
func (p *pace) ran(positions int, took time.Duration) {
	now := took.Seconds() / float64(positions)
	if p.each == 0 {
		p.each = now
	}
	p.each += smoothing * (now - p.each)
}

// refused notes a batch that found no memory. The bound stays until the process
// ends: memory that was short once will be short again.
func (p *pace) refused(positions int) {
	if half := max(1, positions/2); p.most == 0 || half < p.most {
		p.most = half
	}
}

// positions is the bound for the next batch, at most the configured one. A
// single video always goes, however long it takes.
func (p *pace) positions(configured int) int {
	n := configured
	if p.most > 0 {
		n = min(n, p.most)
	}
	if p.target > 0 && p.each > 0 {
		n = min(n, int(p.target.Seconds()/p.each))
	}
	return max(1, n)
}
