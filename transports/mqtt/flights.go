package mqtt

// idDistance is a quarter of the identifiers.
const idDistance = 1 << 14

// nextID returns a free identifier, in turn, or 0. It keeps away from those that the broker gives: MQTT allows the same
// one in both directions [MQTT-2.3.1-4], but mochi, and who knows who else, keeps both in one table.
func (o *outgoing) nextID() uint16 {
	theirs := uint16(o.theirs.Load())
	if ahead := o.lastID - theirs; ahead < idDistance || ahead > 3*idDistance {
		o.lastID = theirs + 2*idDistance
	}
	for range 1 << 16 {
		o.lastID++
		if _, used := o.flights[o.lastID]; !used && o.lastID != 0 {
			return o.lastID
		}
	}
	return 0
}

// reserve returns an identifier for a SUBSCRIBE or UNSUBSCRIBE; release frees it.
func (o *outgoing) reserve() uint16 {
	o.mu.Lock()
	defer o.mu.Unlock()
	id := o.nextID()
	o.flights[id] = nil
	return id
}

func (o *outgoing) release(id uint16) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.flights, id)
}

func (o *outgoing) push(f *flight) {
	o.flights[f.id] = f
	if f.prev = o.last; f.prev != nil {
		f.prev.next = f
	} else {
		o.first = f
	}
	o.last = f
	if o.unsent == nil {
		o.unsent = f
	}
	o.count++
	o.bytes += len(f.packet)
}

func (o *outgoing) remove(f *flight) {
	if f.prev != nil {
		f.prev.next = f.next
	} else {
		o.first = f.next
	}
	if f.next != nil {
		f.next.prev = f.prev
	} else {
		o.last = f.prev
	}
	if o.unsent == f {
		o.unsent = f.next
	}
	delete(o.flights, f.id)
	if f.onWire {
		o.owed--
	}
	o.count--
	o.bytes -= len(f.packet)
	o.change.Broadcast()
}
