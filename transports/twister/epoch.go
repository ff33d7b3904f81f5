package twister

// Of two messages with one text that two users send each other in one second, the daemons keep one (contract, sections 0 and 3): what a user has
// sent stands in the same list as what has come. The k in a text keeps a user's own apart, but two nodes that were started together
// come to the same k, and to receipts that are alike but for the epochs in them. So these are never the same: even where the user's name
// comes before the peer's, and odd where it comes after.

// epochFrom returns the first epoch from one on that a user may have towards a peer.
func epochFrom(first uint32, user, peer string) uint32 { return first + (first&1 ^ side(user, peer)) }

func side(user, peer string) uint32 {
	if user > peer {
		return 1
	}
	return 0
}
