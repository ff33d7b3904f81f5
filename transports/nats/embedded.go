package nats

import (
	"cmp"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

const readyTimeout = 10 * time.Second

// server is a NATS server inside the node.
type server struct {
	listen string
	opts   *natsserver.Options
	log    *serverLog

	*natsserver.Server // nil before start
}

func newServer(c Config, log *slog.Logger) (*server, error) {
	host, portText, err := net.SplitHostPort(c.Embedded.Listen)
	if err != nil {
		return nil, fmt.Errorf("embedded.listen: %w", err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("embedded.listen: %w", err)
	}
	opts := &natsserver.Options{
		ServerName: "weft-" + c.Node, Host: host, Port: int(port),
		JetStream: true, StoreDir: c.Embedded.StoreDir, SyncAlways: c.Embedded.Sync == syncAlways,
		Username: c.User, Password: c.Password, Authorization: c.Token,
		NoSigs: true, PingInterval: pingInterval, MaxPingsOut: maxPings,
	}
	if port == 0 {
		opts.Port = natsserver.RANDOM_PORT
	}
	if c.TLS.Cert != "" {
		if opts.TLSConfig, err = tlsConfig(c.TLS); err != nil {
			return nil, err
		}
		opts.TLSConfig.ClientCAs = opts.TLSConfig.RootCAs
		opts.TLS, opts.TLSTimeout = true, dialTimeout.Seconds()
	}
	return &server{listen: c.Embedded.Listen, opts: opts, log: &serverLog{log: log}}, nil
}

func (s *server) start() error {
	if err := s.probe(); err != nil {
		return err
	}
	running, err := natsserver.NewServer(s.opts)
	if err != nil {
		return fmt.Errorf("embedded NATS server: %w", err)
	}
	running.SetLoggerV2(s.log, false, false, false)
	running.Start()
	if s.log.fatal() != nil || !running.ReadyForConnections(readyTimeout) {
		running.Shutdown()
		running.WaitForShutdown()
		return fmt.Errorf("embedded NATS server on %s with store_dir %q: %w", s.listen, s.opts.StoreDir,
			cmp.Or(s.log.fatal(), fmt.Errorf("not ready within %v", readyTimeout)))
	}
	s.Server = running
	return nil
}

// probe finds out whether the address can be listened on before the server does: its own error is about the server.
func (s *server) probe() error {
	l, err := net.Listen("tcp", s.listen)
	if err != nil {
		return fmt.Errorf("embedded.listen: %w; name an address that is free, or end what uses it", err)
	}
	return l.Close()
}

func (s *server) stop() {
	s.Shutdown()
	s.WaitForShutdown()
}

// room returns how many bytes the running server will still reserve: three quarters of what its disk had free, less what is
// reserved already.
func (s *server) room() int64 {
	config := s.JetStreamConfig()
	_, reserved, err := s.JetStreamReservedResources()
	if config == nil || err != nil {
		return defaultBytes
	}
	return max(0, config.MaxStore-reserved)
}

func (s *server) url() string {
	if s.Server == nil {
		return ""
	}
	return "nats://" + s.Addr().String()
}

// serverLog hands the server's log on, its routine notices as Debug. What the server would end the process for is kept instead.
type serverLog struct {
	log *slog.Logger

	mu    sync.Mutex
	cause error
}

func (l *serverLog) Noticef(format string, v ...any) { l.log.Debug(serverLine(format, v)) }

// Warnf hands a warning on, but for those that nobody can do anything about: the password is as the configuration file has it,
// and after a kill the server reads its streams instead of their index.
func (l *serverLog) Warnf(format string, v ...any) {
	rebuilt := strings.HasPrefix(format, "Filestore [") && strings.Contains(format, "] Recovering ")
	if rebuilt || strings.HasPrefix(format, "Plaintext passwords detected") {
		l.Noticef(format, v...)
		return
	}
	l.log.Warn(serverLine(format, v))
}

func (l *serverLog) Errorf(format string, v ...any) { l.log.Error(serverLine(format, v)) }
func (l *serverLog) Debugf(string, ...any)          {}
func (l *serverLog) Tracef(string, ...any)          {}

func (l *serverLog) Fatalf(format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cause = fmt.Errorf(format, v...)
}

func (l *serverLog) fatal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cause
}

func serverLine(format string, v []any) string { return "nats server: " + fmt.Sprintf(format, v...) }
