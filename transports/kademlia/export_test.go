package kademlia

// Offered reports whether the directory was told that this node follows a peer's feed.
func (t *Transport) Offered(peer string) bool {
	for _, f := range t.feeds.followed {
		if f.peer.name == peer {
			return f.offered.Load() > 0
		}
	}
	return false
}
