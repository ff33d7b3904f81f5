package twister

import "time"

// pace is how often and how long the daemon is looked at and waited for.
type pace struct {
	retry  time.Duration // between looks while it is not ready
	health time.Duration // between looks while it is; less than the ten seconds of its warm-up, so that no restart is missed
	grace  time.Duration // how long it may take to read its user data once its session exists: up to 21 s were measured
	settle time.Duration // how long it may take to get pieces back that it has lost
	quiet  time.Duration // without a new block after which it has fetched all there are
	data   time.Duration // between looks at the size of its user data
}

// newPace returns the pace for a twisterd that takes as long for what takes it a second.
func newPace(u time.Duration) pace {
	return pace{retry: u, health: 5 * u, grace: 22 * u, settle: 60 * u, quiet: 60 * u, data: time.Hour}
}
