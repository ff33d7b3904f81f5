package twistertest

// A Fault is what goes wrong with a call.
type Fault int

// The faults.
const (
	NoFault     Fault = iota
	DropRequest       // the connection ends before the call is carried out
	DropAnswer        // the call is carried out, and the connection ends before its answer
	Hang              // no answer comes as long as the daemon runs
)

// SetFault has f choose what goes wrong with each call from now on, or nothing if f is nil. f is called for many calls at a time.
func (d *Daemon) SetFault(f func(method string) Fault) {
	d.net.mu.Lock()
	defer d.net.mu.Unlock()
	d.fault = f
}

func (d *Daemon) faultOf(method string) Fault {
	d.net.mu.Lock()
	f := d.fault
	d.net.mu.Unlock()
	if f == nil {
		return NoFault
	}
	return f(method)
}
