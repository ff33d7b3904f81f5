package twistertest

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strconv"
)

const (
	// advertEvery is how often, in seconds, getposts adds a promoted post that nobody asked for.
	advertEvery = 8 * 60 * 60

	advertText = "Promoted posts are needed to run the network infrastructure. If you want to help, start generating blocks and advertise. [en]"

	// defaultFlags are what getposts returns unless told: plain posts and retwists.
	defaultFlags = 1
)

func (d *Daemon) newPostMsg(p params) (any, error) {
	author, k := p.str(0), p.int(1)
	post := d.newPost(author, k, p.str(2))
	if len(p.list) == 5 {
		post.json["reply"] = map[string]any{"n": p.str(3), "k": int64(p.int(4))}
	}
	if t, ok := d.torrents[author]; ok && t.lastPublic() >= 0 {
		post.json["lastk"] = int64(t.lastPublic())
	}
	if err := d.post(post); err != nil {
		return nil, err
	}
	d.announce(post, strconv.Itoa(k))
	if len(p.list) == 5 {
		d.dhtPut(dhtKey{p.str(3), "replies" + strconv.Itoa(p.int(4)), "m"}, post.object(), author, 0)
	}
	return post.object(), nil
}

// newDirectMsg with copy_self sends a second message to the sender himself, in random order, and then lists neither: both come
// back by the torrent. Of two the daemon answers the last.
func (d *Daemon) newDirectMsg(p params) (any, error) {
	from, k, to, text := p.str(0), p.int(1), p.str(2), p.str(3)
	key, err := d.recipient(from, to)
	if err != nil {
		return nil, err
	}
	keys := []string{key}
	if own, ok := d.wallet.users[from]; ok && p.bool(4) {
		keys = append(keys, own)
		d.net.rng.Shuffle(2, func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	}
	var post *post
	for i, key := range keys {
		post = d.newDM(from, k+i, &sealed{key: key, to: to, text: text})
		if err := d.sign(post); err != nil {
			return nil, err
		}
		if !p.bool(4) {
			d.sent(post)
		}
		d.submit(post)
	}
	return post.object(), nil
}

// A span is one element of what getposts and getdirectmsgs are asked for.
type span struct {
	user        string
	since, most int64
}

func (p params) spans(i int) ([]span, error) {
	list, _ := p.list[i].([]any)
	var spans []span
	for _, value := range list {
		object, ok := value.(map[string]any)
		if !ok {
			return nil, wrongType(value, 'o')
		}
		s := span{since: -1, most: math.MaxInt32}
		if s.user, ok = object["username"].(string); !ok {
			return nil, wrongType(object["username"], 's')
		}
		for name, into := range map[string]*int64{"since_id": &s.since, "max_id": &s.most} {
			value, given := object[name]
			if n, ok := value.(int64); ok {
				*into = int64(int32(n))
			} else if given {
				return nil, wrongType(value, 'i')
			}
		}
		spans = append(spans, s)
	}
	return spans, nil
}

func (d *Daemon) getPosts(p params) (any, error) {
	spans, err := p.spans(1)
	if err != nil {
		return nil, err
	}
	count, allowed, required := p.int(0), p.intOr(2, defaultFlags), p.intOr(3, 0)
	var found []*post
	for _, s := range spans {
		found = append(found, d.newest(count, s, int64(allowed), int64(required))...)
	}
	d.order(found)
	result := []any{}
	if count > 0 && d.session && d.net.now()-d.advert >= advertEvery {
		d.advert = d.net.now()
		result = append(result, d.promoted())
	}
	for _, post := range found[:min(len(found), max(count, 0))] {
		result = append(result, post.object())
	}
	return result, nil
}

// newest returns the posts of a span with the highest k, by k.
func (d *Daemon) newest(count int, s span, allowed, required int64) []*post {
	t, ok := d.torrents[s.user]
	if !ok {
		return nil
	}
	var found []*post
	for _, k := range slices.Backward(slices.Sorted(maps.Keys(t.pieces))) {
		post := t.pieces[k]
		if len(found) >= count {
			break
		}
		if flags := post.flags(); int64(k) > s.since && int64(k) <= s.most && flags&^allowed == 0 && flags&required == required {
			found = append(found, post)
		}
	}
	slices.Reverse(found)
	return found
}

// order puts the newest second first. Inside of one real daemons list by k upwards most times, and downwards at others.
func (d *Daemon) order(posts []*post) {
	down := d.net.rng.IntN(4) == 0
	slices.SortStableFunc(posts, func(a, b *post) int {
		if c := cmp.Compare(b.number("time"), a.number("time")); c != 0 || a.name != b.name {
			return c
		}
		if down {
			a, b = b, a
		}
		return cmp.Compare(a.k, b.k)
	})
}

func (p *post) number(name string) int64 {
	n, _ := p.json[name].(int64)
	return n
}

func (d *Daemon) promoted() any {
	return map[string]any{"sig_userpost": "", "userpost": map[string]any{
		"height": d.height, "k": d.height, "msg": d.net.opts.Promoted, "n": "nobody", "time": d.net.now(),
	}}
}

func (d *Daemon) getDirectMsgs(p params) (any, error) {
	spans, err := p.spans(2)
	if err != nil {
		return nil, err
	}
	result := map[string]any{}
	u, ok := d.data[p.str(0)]
	if !ok {
		return result, nil
	}
	for _, s := range spans {
		chosen, first := choose(u.messages[s.user], int64(p.int(1)), s.since, s.most)
		list := make([]any, 0, len(chosen))
		for i, m := range chosen {
			list = append(list, m.object(first+i))
		}
		if len(list) > 0 {
			result[s.user] = list
		}
	}
	return result, nil
}

func (d *Daemon) rescanDirectMsgs(p params) (any, error) {
	d.rescan(p.str(0))
	return nil, nil
}
