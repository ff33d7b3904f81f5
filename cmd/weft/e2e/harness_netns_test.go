package e2e_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// netnsPrefix begins the names of the tests' network namespaces. The number of the process that made one follows.
const netnsPrefix = "weft-e2e-"

var (
	lastNetns   atomic.Int32
	sweepNetns  sync.Once
	netnsFolder = "/run/netns"
)

// requireNetns skips the test where there are no network namespaces to be had.
func requireNetns(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("network namespaces need root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("ip is missing; install it: apt-get install iproute2")
	}
	sweepNetns.Do(removeOldNetns)
	probe := fmt.Sprintf("%s%d-probe%d", netnsPrefix, os.Getpid(), lastNetns.Add(1))
	out, err := exec.Command("ip", "netns", "add", probe).CombinedOutput()
	if err == nil {
		defer exec.Command("ip", "netns", "delete", probe).Run() //nolint:errcheck // the next run tries again
		out, err = exec.Command("ip", "-n", probe, "link", "add", "probe", "type", "veth", "peer", "name", "eborp").CombinedOutput()
	}
	if err != nil {
		t.Skipf("no network namespaces here: %v: %s", err, out)
	}
}

// removeOldNetns removes what a killed run has left.
func removeOldNetns() {
	left, _ := filepath.Glob(filepath.Join(netnsFolder, netnsPrefix+"*"))
	for _, path := range left {
		name := filepath.Base(path)
		pid, _, _ := strings.Cut(strings.TrimPrefix(name, netnsPrefix), "-")
		if _, err := os.Stat("/proc/" + pid); err != nil || pid == fmt.Sprint(os.Getpid()) {
			_ = exec.Command("ip", "netns", "delete", name).Run()
		}
	}
}

// netns is a network namespace: a machine as far as the network is concerned. It ends with the test.
type netns struct {
	t    *testing.T
	name string
}

func newNetns(t *testing.T, name string) *netns {
	t.Helper()
	n := &netns{t, fmt.Sprintf("%s%d-%d-%s", netnsPrefix, os.Getpid(), lastNetns.Add(1), name)}
	ip(t, "netns", "add", n.name)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "delete", n.name).Run() }) // with all interfaces in it
	n.ip("link", "set", "lo", "up")
	return n
}

// ip configures the namespace.
func (n *netns) ip(args ...string) {
	n.t.Helper()
	ip(n.t, append([]string{"-n", n.name}, args...)...)
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	out, err := exec.Command("ip", args...).CombinedOutput()
	require.NoError(t, err, "ip %q: %s", args, out)
}

// run runs a program in the namespace to its end.
func (n *netns) run(args ...string) {
	n.t.Helper()
	out, err := exec.Command("ip", append([]string{"netns", "exec", n.name}, args...)...).CombinedOutput()
	require.NoError(n.t, err, "%q: %s", args, out)
}

// cable joins an interface of the namespace to one of another namespace. Both are new.
func (n *netns) cable(dev string, to *netns, toDev string) {
	n.t.Helper()
	n.ip("link", "add", dev, "type", "veth", "peer", "name", toDev, "netns", to.name)
	n.ip("link", "set", dev, "up")
	to.ip("link", "set", toDev, "up")
}

// dial connects to a loopback address of the namespace. A socket stays in the namespace that its thread was in when it was made.
func (n *netns) dial(addr string) (net.Conn, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	defer home.Close()
	there, err := os.Open(filepath.Join(netnsFolder, n.name))
	if err != nil {
		return nil, err
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("enter %s: %w", n.name, err)
	}
	defer func() {
		if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
			panic(err) // every test to come on this thread would be in the wrong place
		}
	}()
	return net.Dial("tcp", addr)
}

// show makes a loopback address of the namespace one of this process's, so that clients here reach it.
func (n *netns) show(addr string) {
	n.t.Helper()
	newProxyAt(n.t, addr, func() (net.Conn, error) { return n.dial(addr) })
}

// inside makes the program run in the namespace.
func (p *program) inside(n *netns) {
	p.args = append([]string{"netns", "exec", n.name, p.bin}, p.args...)
	p.bin = "ip" // which becomes the program: signals reach that
}

// lan is a network that nothing else is on: a bridge in a namespace of its own, which namespaces are plugged into.
type lan struct {
	hub   *netns
	ports int
}

func newLAN(t *testing.T) *lan {
	t.Helper()
	requireNetns(t)
	l := &lan{hub: newNetns(t, "hub")}
	l.hub.ip("link", "add", "bridge", "type", "bridge")
	l.hub.ip("link", "set", "bridge", "up")
	return l
}

// plug gives the namespace an interface on the network with an address, and returns its port.
func (l *lan) plug(n *netns, dev, addr string) *port {
	n.t.Helper()
	l.ports++
	p := &port{ns: n, dev: dev, addr: addr, hub: l.hub, name: fmt.Sprintf("port%d", l.ports)}
	n.cable(dev, l.hub, p.name)
	n.ip("address", "add", addr, "dev", dev)
	p.open()
	return p
}

// behindNAT puts the namespace behind a router of its own, which has the address on this network. Only what was asked for comes in.
func (l *lan) behindNAT(n *netns, addr string) {
	n.t.Helper()
	router := newNetns(n.t, "router")
	l.plug(router, "out", addr)
	n.cable("eth0", router, "in")
	router.ip("address", "add", "192.168.77.1/24", "dev", "in")
	n.ip("address", "add", "192.168.77.2/24", "dev", "eth0")
	n.ip("route", "add", "default", "via", "192.168.77.1")
	router.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
	for _, rule := range []string{
		"-t nat -A POSTROUTING -o out -j MASQUERADE",
		"-P INPUT DROP",
		"-P FORWARD DROP",
		"-A FORWARD -i in -o out -j ACCEPT",
		"-A FORWARD -i out -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
	} {
		router.run(append([]string{"iptables"}, strings.Fields(rule)...)...)
	}
}

// requireNAT skips the test where routers cannot be had.
func requireNAT(t *testing.T) {
	t.Helper()
	requireNetns(t)
	if _, err := exec.LookPath("iptables"); err != nil {
		t.Skip("iptables is missing; install it: apt-get install iptables")
	}
	probe := newNetns(t, "nat")
	for _, rule := range []string{"-t nat -A POSTROUTING -j MASQUERADE", "-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT"} {
		args := append([]string{"netns", "exec", probe.name, "iptables"}, strings.Fields(rule)...)
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Skipf("no address translation here: %v: %s", err, out)
		}
	}
}

// port is where a namespace is plugged into a network.
type port struct {
	ns        *netns
	dev, addr string
	hub       *netns
	name      string
}

// cut and heal take the interface down and up.
func (p *port) cut()  { p.ns.ip("link", "set", p.dev, "down") }
func (p *port) heal() { p.ns.ip("link", "set", p.dev, "up") }

// swallow makes the network swallow every packet from and to the namespace, which is not told. open ends that.
func (p *port) swallow() { p.hub.ip("link", "set", p.name, "nomaster") }
func (p *port) open()    { p.hub.ip("link", "set", p.name, "master", "bridge") }

// move gives the interface another address in place of the one it has.
func (p *port) move(addr string) {
	p.ns.t.Helper()
	p.ns.ip("address", "delete", p.addr, "dev", p.dev)
	p.ns.ip("address", "add", addr, "dev", p.dev)
	p.addr = addr
}

// into puts the site into the namespace; its clients reach it as before.
func (s *site) into(n *netns) {
	n.t.Helper()
	s.broker.inside(n)
	s.node.inside(n)
	n.show(s.broker.addr)
	n.show(s.node.admin)
}

// apart puts every site of the mesh into a namespace of its own. They are joined by a network, and enter the mesh by the first of them.
// listen is what all nodes listen on, if not on everything.
func (m *mesh) apart(listen ...string) map[*site]*port {
	m.t.Helper()
	l, ports := newLAN(m.t), map[*site]*port{}
	m.nats = nil
	entry := "/ip4/10.77.0.1/tcp/4001/p2p/" + peerID(m.t, m.sites[0].node)
	if len(listen) > 0 && strings.Contains(listen[0], "/udp/") {
		entry = strings.Replace(entry, "/tcp/4001", "/udp/4001/quic-v1", 1)
	}
	for i, s := range m.sites {
		n := newNetns(m.t, s.name)
		s.into(n)
		ports[s] = l.plug(n, "eth0", fmt.Sprintf("10.77.0.%d/24", i+1))
		hub := object{"type": "kademlia", "mdns": false}
		if len(listen) > 0 {
			hub["listen"] = listen
		}
		if i > 0 {
			hub["bootstrap"] = list{entry}
		}
		s.node.config["transports"] = object{"hub": hub}
	}
	return ports
}
