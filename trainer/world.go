package trainer

import (
	"encoding/binary"
	"math"

	"videosim/shared/nn"
	"videosim/shared/torch"
)

// world is the processes that train one model together, each on its share of
// every batch. They take the same steps: what one decides (to stop, to write
// a checkpoint), all decide. All but run on the engine's thread.
type world struct {
	group  *torch.Group // nil: this process is alone
	device torch.Device
}

// joinWorld meets the other processes that torchrun or a PyTorchJob has
// started, if any.
func joinWorld(device torch.Device) (world, error) {
	cfg, ok, err := torch.GroupFromEnv()
	if err != nil || !ok {
		return world{}, err
	}
	cfg.Device = device
	g, err := torch.OpenGroup(cfg)
	return world{g, device}, err
}

func (w world) rank() int {
	if w.group == nil {
		return 0
	}
	return w.group.Rank()
}

func (w world) size() int {
	if w.group == nil {
		return 1
	}
	return w.group.Size()
}

// main reports whether this process writes what a run leaves behind.
func (w world) main() bool { return w.rank() == 0 }

// share is the part of n things that a process takes care of. Shares differ by
// one at most.
func share(n, rank, size int) (from, to int) { return rank * n / size, (rank + 1) * n / size }

// sum adds up numbers over all processes.
func (w world) sum(values ...float64) []float64 {
	if w.group == nil {
		return values
	}
	s := torch.NewScope()
	defer s.Close()
	raw := make([]byte, 0, 8*len(values))
	for _, v := range values {
		raw = binary.LittleEndian.AppendUint64(raw, math.Float64bits(v))
	}
	t := torch.To(s, torch.FromBytes(s, torch.Float64, raw, int64(len(values))), torch.Float64, w.device)
	w.group.SumAll(t)
	out := make([]float64, len(values))
	for i, bits := 0, t.Bytes(); i < len(out); i++ {
		out[i] = math.Float64frombits(binary.LittleEndian.Uint64(bits[8*i:]))
	}
	return out
}

// sumGradients adds up the gradients of the parameters of which every process
// has a part: its videos' part.
func (w world) sumGradients(s *torch.Scope, p *nn.Params, partial func(name string) bool) {
	if w.group == nil {
		return
	}
	var grads []torch.Tensor
	for _, e := range p.All() {
		if e.Buffer || !partial(e.Name) {
			continue
		}
		if g := torch.Grad(s, e.Tensor); g.Defined() {
			grads = append(grads, g)
		}
	}
	if len(grads) > 0 {
		w.group.SumAll(grads...)
	}
}

// gather joins the rows of all processes, in their order: local is (n, W) for
// this process's share of total rows. Gradients flow to the own rows only, and
// to them completely, because every process computes the same loss of all rows.
func (w world) gather(s *torch.Scope, local torch.Tensor, total int) torch.Tensor {
	if w.group == nil {
		return local
	}
	most := (total + w.size() - 1) / w.size()
	full := torch.Zeros(s, local.DType(), local.Device(), int64(most), local.Size(1))
	torch.Narrow(s, full, 0, 0, local.Size(0)).Copy(torch.Detach(s, local))
	parts := w.group.Gather(s, full)
	for rank, part := range parts {
		from, to := share(total, rank, w.size())
		parts[rank] = torch.Narrow(s, part, 0, 0, int64(to-from))
	}
	parts[w.rank()] = local
	return torch.Cat(s, 0, parts...)
}

// tell gives every process what the main one knows.
func (w world) tell(data []byte) []byte {
	if w.group == nil {
		return data
	}
	s := torch.NewScope()
	defer s.Close()
	length := torch.To(s, torch.FromInt64s(s, []int64{int64(len(data))}, 1), torch.Int64, w.device)
	w.group.Broadcast(0, length)
	n := int64(length.Item())
	if n == 0 {
		return nil
	}
	payload := torch.Zeros(s, torch.Uint8, w.device, n)
	if w.main() {
		payload.Copy(torch.FromBytes(s, torch.Uint8, data, n))
	}
	w.group.Broadcast(0, payload)
	return payload.Bytes()
}

// tellTensors overwrites the tensors with the main process's.
func (w world) tellTensors(ts ...torch.Tensor) {
	if w.group != nil && len(ts) > 0 {
		w.group.Broadcast(0, ts...)
	}
}

// everyone collects the bytes of all processes, equally many from each.
func (w world) everyone(data []byte) [][]byte {
	if w.group == nil {
		return [][]byte{data}
	}
	s := torch.NewScope()
	defer s.Close()
	t := torch.To(s, torch.FromBytes(s, torch.Uint8, data, int64(len(data))), torch.Uint8, w.device)
	var out [][]byte
	for _, part := range w.group.Gather(s, t) {
		out = append(out, part.Bytes())
	}
	return out
}

func (w world) close() {
	if w.group != nil {
		w.group.Close()
	}
}

// shareOf cuts this process's share out of every batch of a plan. A last batch
// with fewer items than processes joins the one before it.
type shareOf struct {
	plan
	rank, size int
}

func (p shareOf) Len() int {
	if n := p.plan.Len(); n > 1 && len(p.plan.Items(n-1)) < p.size {
		return n - 1
	}
	return p.plan.Len()
}

// whole is batch i of all processes.
func (p shareOf) whole(i int) []int {
	items := p.plan.Items(i)
	if i == p.Len()-1 && p.Len() < p.plan.Len() {
		return append(items[:len(items):len(items)], p.plan.Items(i+1)...)
	}
	return items
}

func (p shareOf) Items(i int) []int {
	items := p.whole(i)
	from, to := share(len(items), p.rank, p.size)
	return items[from:to]
}
