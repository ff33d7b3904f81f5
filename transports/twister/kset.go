package twister

import "slices"

// kset is a set of ks that stays small: the lowest are forgotten as soon as there are too many, and count as being in it then.
type kset struct {
	floor int // all below are in it
	most  int
	ks    []int // sorted, from floor on
}

// has reports whether k is in the set.
func (s *kset) has(k int) bool {
	if k < s.floor {
		return true
	}
	_, found := slices.BinarySearch(s.ks, k)
	return found
}

// add reports whether k is new.
func (s *kset) add(k int) bool {
	if k < s.floor {
		return false
	}
	at, found := slices.BinarySearch(s.ks, k)
	if found {
		return false
	}
	s.ks = slices.Insert(s.ks, at, k)
	if len(s.ks) > s.most {
		drop := len(s.ks) - s.most*3/4
		s.floor = s.ks[drop-1] + 1
		s.ks = slices.Delete(s.ks, 0, drop)
	}
	return true
}

// highest returns the highest k, -1 for none.
func (s *kset) highest() int {
	if len(s.ks) == 0 {
		return s.floor - 1
	}
	return s.ks[len(s.ks)-1]
}

// runs returns the set as pairs of a first k and how many follow each other from it on.
func (s *kset) runs() [][2]int {
	var runs [][2]int
	for _, k := range s.ks {
		if n := len(runs); n > 0 && runs[n-1][0]+runs[n-1][1] == k {
			runs[n-1][1]++
		} else {
			runs = append(runs, [2]int{k, 1})
		}
	}
	return runs
}

// restore adds what runs has returned. Runs that it never returns are left out.
func (s *kset) restore(floor int, runs [][2]int) {
	s.floor = max(floor, 0)
	for _, run := range runs {
		for i := range min(run[1], s.most) {
			s.add(run[0] + i)
		}
	}
}
