package stage

// Step is one configured stage of a route or a subscription.
type Step struct {
	Name string                // its type, as the configuration names it
	New  func() (Stage, error) // makes one more of it, with fresh state and without I/O
}

// Steps are the configured stages, in the order in which messages pass them.
type Steps struct {
	Routes    map[string][]Step // by the route's name; none for a route without stages
	Subscribe [][]Step          // by the subscription's place in the list; may end early
}

// Subscription returns the stages of a subscription by its place in the list.
func (s Steps) Subscription(i int) []Step {
	if i < len(s.Subscribe) {
		return s.Subscribe[i]
	}
	return nil
}
