package stage

// Step is one configured stage, which is made anew for each lane that it serves.
type Step struct {
	Name string // its type, as in the configuration
	New  func() (Stage, error)
}

// Steps are the configured stages of a node, those of one list in their order.
type Steps struct {
	Routes    map[string][]Step // of the routes that have any, by name
	Subscribe [][]Step          // by the index of the subscription
}
