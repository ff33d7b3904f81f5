// Package admin serves a node's health, metrics and status over HTTP.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/weft-relay/weft/pipeline"
)

// Server answers on one address:
//
//	/healthz                   200 while the process works
//	/readyz                    200 when the broker and every transport are up, else 503 and why, a line each
//	/metrics                   Prometheus
//	/api/v1/status             the JSON of pipeline.Status
//	/api/v1/peers/NAME/ping    the JSON of pipeline.Echo, over ?transport=NAME or any mesh; else of Failure, with 404 or 502
//	/debug/pprof/              profiles for `go tool pprof`
//
// It has no authentication: listen on the loopback interface, or behind something that has.
type Server struct {
	listen string
	http   http.Server
	log    *slog.Logger
	addr   net.Addr
	done   chan struct{}
}

// Node is what the server answers about.
type Node interface {
	Status() pipeline.Status // asked for each request but /healthz and pings
	Ping(ctx context.Context, peer, transport string) (pipeline.Echo, error)
}

// Failure is why there is no answer.
type Failure struct {
	Error string `json:"error"`
}

// New makes a server for the address, HOST:PORT.
func New(listen string, node Node, log *slog.Logger) *Server {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector{node.Status}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { ready(w, node.Status()) })
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /api/v1/status", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, node.Status()) })
	mux.HandleFunc("GET /api/v1/peers/{name}/ping", func(w http.ResponseWriter, r *http.Request) { ping(w, r, node) })
	return &Server{
		listen: listen,
		log:    log,
		http:   http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second},
		done:   make(chan struct{}),
	}
}

func ready(w http.ResponseWriter, s pipeline.Status) {
	if len(s.Problems) > 0 {
		http.Error(w, strings.Join(s.Problems, "\n"), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ready")
}

// pingTime bounds how long an answer of a peer is waited for.
const pingTime = 5 * time.Second

func ping(w http.ResponseWriter, r *http.Request, node Node) {
	ctx, cancel := context.WithTimeout(r.Context(), pingTime)
	defer cancel()
	echo, err := node.Ping(ctx, r.PathValue("name"), r.URL.Query().Get("transport"))
	switch {
	case err == nil:
		writeJSON(w, echo)
		return
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("%s does not answer within %v", r.PathValue("name"), pingTime)
	}
	code := http.StatusBadGateway
	if errors.Is(err, pipeline.ErrNoPeer) || errors.Is(err, pipeline.ErrNoMesh) {
		code = http.StatusNotFound
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	writeJSON(w, Failure{err.Error()})
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(v) // the reader has gone away
}

// Start listens and serves until Close.
func (s *Server) Start(ctx context.Context) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", s.listen)
	if err != nil {
		return fmt.Errorf("admin.listen: %w; name an address that is free, or end what uses it", err)
	}
	s.addr = l.Addr()
	s.log.Info("admin listens", "address", s.addr.String())
	go func() {
		defer close(s.done)
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("admin stopped", "error", err)
		}
	}()
	return nil
}

// Addr returns the address that the started server listens on.
func (s *Server) Addr() string { return s.addr.String() }

// Close ends the server at once; requests under way are cut.
func (s *Server) Close() error {
	err := s.http.Close()
	<-s.done
	return err
}
