package twistertest

import (
	"slices"
)

// membersPerPost is about how many bytes of names of members go into one post.
const membersPerPost = 150

// group is what one daemon knows of a group. Its key is the same everywhere, its alias is not.
type group struct {
	alias, key  string
	description string
	members     []string // sorted
	left        map[string]bool
}

func (g *group) add(name string) {
	if !slices.Contains(g.members, name) {
		g.members = append(g.members, name)
		slices.Sort(g.members)
	}
}

func (g *group) remove(name string) {
	g.members = slices.DeleteFunc(g.members, func(m string) bool { return m == name })
}

func (g *group) localMember(d *Daemon) bool {
	return slices.ContainsFunc(g.members, func(m string) bool {
		_, ok := d.wallet.users[m]
		return ok
	})
}

func (d *Daemon) newGroup(key, description string) *group {
	const letters = "abcdefghijklmnopqrstuvwxyz"
	alias := []byte("*")
	for range 8 {
		alias = append(alias, letters[d.net.rng.IntN(len(letters))])
	}
	g := &group{alias: string(alias), key: key, description: description, left: map[string]bool{}}
	d.groups[g.alias] = g
	return g
}

func (d *Daemon) groupOf(key string) *group {
	for _, g := range d.groups {
		if g.key == key {
			return g
		}
	}
	return nil
}

// join takes an invitation. It makes the group here when it is new, and runs the torrent of the one who invites.
func (d *Daemon) join(name string, p *post) {
	g := d.groupOf(p.dm.invite.key)
	if g == nil {
		g = d.newGroup(p.dm.invite.key, p.dm.invite.description)
	}
	again := slices.Contains(g.members, name) || g.left[name]
	delete(g.left, name)
	g.add(name)
	d.run(p.name)
	if !again {
		m := p.message(false)
		m.text = "*** Invited by '" + p.name + "' to group: " + g.description
		d.list(name, g.alias, m)
	}
}

// deliverToGroup lists a message to a group for its local members, the sender included, or takes a list of members.
func (d *Daemon) deliverToGroup(g *group, p *post, names []string) {
	texts := []string{p.dm.text}
	if p.dm.members != nil {
		texts = nil
		for _, member := range p.dm.members {
			if !slices.Contains(g.members, member) && !g.left[member] {
				g.add(member)
				texts = append(texts, "*** New member '"+member+"' invited by '"+p.name+"'")
			}
			d.run(member)
		}
	}
	for _, name := range names {
		if !slices.Contains(g.members, name) || g.left[name] {
			continue
		}
		for _, text := range texts {
			m := p.message(false)
			if m.text = text; text != "" {
				d.list(name, g.alias, m)
			}
		}
	}
}

// invite sends an invitation to each name and then the list of members to the group.
func (d *Daemon) invite(from string, k int, g *group, names []string) error {
	for _, name := range names {
		key, err := d.recipient(from, name)
		if err != nil {
			return err
		}
		if err := d.post(d.newDM(from, k, &sealed{key: key, to: name, invite: &group{key: g.key, description: g.description}})); err != nil {
			return err
		}
		k++
	}
	for len(names) > 0 {
		some, size := []string{}, 0
		for len(names) > 0 && size < membersPerPost {
			some, size, names = append(some, names[0]), size+len(names[0])+4, names[1:]
		}
		if err := d.post(d.newDM(from, k, &sealed{key: g.key, to: g.alias, members: some})); err != nil {
			return err
		}
		k++
	}
	return nil
}

// post signs and submits.
func (d *Daemon) post(p *post) error {
	if err := d.sign(p); err != nil {
		return err
	}
	d.submit(p)
	return nil
}

// recipient returns the key of whom a message is for: a confirmed user, oneself, or a group that this daemon knows.
func (d *Daemon) recipient(from, to string) (string, error) {
	if g, ok := d.groups[to]; ok {
		return g.key, nil
	}
	if key, ok := d.wallet.users[to]; ok && to == from {
		return key, nil
	}
	if u, ok := d.lookup(to); ok {
		return u.key, nil
	}
	return "", refuse(-32603, "error encrypting to pubkey of destination user")
}
