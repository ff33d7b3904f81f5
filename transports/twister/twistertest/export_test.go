package twistertest

// OpenSession ends the first part of the warm-up, which the replay does not wait for.
func OpenSession(d *Daemon) {
	d.net.mu.Lock()
	defer d.net.mu.Unlock()
	d.openSession()
}

// Load ends the warm-up.
func Load(d *Daemon) {
	d.net.mu.Lock()
	defer d.net.mu.Unlock()
	d.load()
}

// Do carries out a call without HTTP.
func Do(d *Daemon, method string, params ...any) (any, error) { return d.do(method, params...) }
