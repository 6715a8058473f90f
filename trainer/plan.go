package trainer

import "math/bits"

// A plan is the batches of one epoch, by number. It takes no memory for its
// items: any batch can be asked for, in any order, so that a resumed epoch
// starts in its middle and an epoch of a million videos costs as much as one of
// a hundred. Safe for concurrent use.
type plan interface {
	Len() int          // batches
	Items(i int) []int // item numbers of batch i, in 0…Len()-1
}

// shuffled plans batches of the item numbers 0…n-1 in an order that depends on
// n, the seed and the epoch alone.
func shuffled(n, size int, seed uint64, epoch int) plan {
	return cut{n, size, newPermutation(n, seed, orderStream+uint64(epoch)).at}
}

// inOrder plans batches of the item numbers 0…n-1 in that order.
func inOrder(n, size int) plan {
	return cut{n, size, func(i int) int { return i }}
}

// cut divides an order of n items into batches of size. A single item left
// over joins the batch before it, because batch normalisation has no variance
// to divide by in a batch of one.
type cut struct {
	n, size int
	item    func(place int) int
}

func (c cut) Len() int {
	whole, rest := c.n/c.size, c.n%c.size
	if rest > 1 || rest == 1 && (whole == 0 || c.size == 1) {
		return whole + 1
	}
	return whole
}

func (c cut) Items(i int) []int {
	from, to := i*c.size, (i+1)*c.size
	if i == c.Len()-1 {
		to = c.n
	}
	items := make([]int, to-from)
	for k := range items {
		items[k] = c.item(from + k)
	}
	return items
}

// orderStream keeps the data order's random numbers apart from the split's.
const orderStream = 0x5eed_1000

// permutation puts 0…n-1 into a pseudorandom order without holding it: a
// Feistel network permutes the numbers of an even count of bits, the next power
// of four above n, and a number that falls outside 0…n-1 is sent through again
// until it does not ("cycle walking", J. Black and P. Rogaway, Ciphers with
// Arbitrary Finite Domains, 2002). That takes fewer than four rounds on average.
type permutation struct {
	n    uint64
	half uint // bits of either half
	keys [feistelRounds]uint64
}

// feistelRounds: four make a network pseudorandom (Luby and Rackoff); more,
// because the halves of a small n have but a few bits.
const feistelRounds = 8

func newPermutation(n int, seed, stream uint64) permutation {
	p := permutation{n: uint64(n), half: uint(bits.Len64(uint64(max(n-1, 1)))+1) / 2}
	state := scramble(seed ^ scramble(stream))
	for i := range p.keys {
		state += goldenRatio
		p.keys[i] = scramble(state)
	}
	return p
}

func (p permutation) at(i int) int {
	x := p.encrypt(uint64(i))
	for x >= p.n {
		x = p.encrypt(x)
	}
	return int(x)
}

func (p permutation) encrypt(x uint64) uint64 {
	mask := uint64(1)<<p.half - 1
	left, right := x>>p.half, x&mask
	for _, key := range p.keys {
		left, right = right, left^scramble(right^key)>>(64-p.half)
	}
	return left<<p.half | right
}

// goldenRatio is 2⁶⁴ over the golden ratio, SplitMix64's increment.
const goldenRatio = 0x9e3779b97f4a7c15

// scramble is the output function of SplitMix64 (Steele, Lea and Flood, 2014):
// every bit of x reaches every bit of the result.
func scramble(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
