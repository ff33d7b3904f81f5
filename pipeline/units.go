package pipeline

import (
	"github.com/weft-relay/weft/pipeline/frame"
	"github.com/weft-relay/weft/pipeline/lanes"
	"github.com/weft-relay/weft/transports"
)

// wellFilled is the share of its units' bytes with which a frame goes as it is.
const wellFilled = 0.97

// used returns which share of the bytes of its units a frame uses.
func used(size, unit int) float64 {
	units := (size + unit - 1) / unit
	return float64(size) / float64(units*unit)
}

// fill returns how many of the stretch's wanted messages make the next frame: all of them, unless the transport carries units, the frame
// would leave much of its last one empty, and there is more in the lane for the rest to go with. It seals at most four times.
func (d *delivery) fill(r *stretch) int {
	all := len(r.wanted)
	m, ok := r.by.transport.(transports.Measured)
	if !ok || all < 2 {
		return all
	}
	unit := m.Unit()
	if s := d.lane.Stats(); unit <= 0 || s.Depth == s.InFlight {
		return all
	}
	data, err := d.seal(r.by, r.wanted)
	if err != nil || len(data) <= unit {
		return all
	}
	size, goal := len(data), len(data)/unit*unit
	best, most := all, used(size, unit)
	for n, tries := all, 0; most < wellFilled && tries < 3; tries++ {
		if n = prefix(r.wanted, n, size, goal); n == 0 {
			break
		}
		if data, err = d.seal(r.by, r.wanted[:n]); err != nil {
			return all
		}
		size = len(data)
		if u := used(size, unit); u > most {
			best, most = n, u
		}
	}
	return best
}

// prefix estimates how many of the messages make a frame of the size goal, when the first n make one of the given size.
func prefix(batch []frame.Message, n, size, goal int) int {
	weight := 0
	for i := range batch[:n] {
		weight += lanes.Size(&batch[i])
	}
	limit := weight * (goal - size/(2*n)) / size // half a message below: a frame just above costs a unit more
	weight, n = 0, 0
	for n < len(batch) {
		if weight += lanes.Size(&batch[n]); weight > limit {
			break
		}
		n++
	}
	return n
}
