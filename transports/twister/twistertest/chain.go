package twistertest

import "regexp"

// chain is the block chain: who registered when.
type chain struct {
	height int
	txs    int // transactions so far: one of promotion a block, and the registrations
	users  map[string]user
	wait   []pending
}

type user struct {
	height, id int
	key        string
}

type pending struct{ name, key string }

// validName is what the chain takes for a user.
var validName = regexp.MustCompile(`^[a-z0-9_]{1,16}$`)

func newChain() chain { return chain{txs: 1, users: map[string]user{}} }

func (c *chain) mine() {
	c.height++
	c.txs++
	for _, p := range c.wait {
		c.users[p.name] = user{height: c.height, id: c.txs, key: p.key}
		c.txs++
	}
	c.wait = nil
}

func (c *chain) waits(name string) bool {
	for _, p := range c.wait {
		if p.name == name {
			return true
		}
	}
	return false
}

// ceiling returns the highest k that the rules allow a user at a height: two posts a block, and 20.
func (u user) ceiling(height int) int { return 2*(height-u.height) + 20 }
