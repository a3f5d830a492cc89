package server

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
)

const checkDeadline = 2 * time.Second

// serveLive answers that the process serves requests, and nothing more.
func (s *Server) serveLive(w http.ResponseWriter, r *http.Request) error {
	return answerHealth(w, r, "/livez", http.StatusOK, readiness{Schema: "liveness/v1", OK: true})
}

// readiness is the JSON form of /livez and /readyz.
type readiness struct {
	Schema string        `json:"schema"`
	OK     bool          `json:"ok"`
	Checks []checkResult `json:"checks,omitempty"`
}

type checkResult struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
}

// serveReady runs all checks, one after the other, and names those that fail.
// The cause of a failure goes to the log alone, unless it is a problem's own
// sentence: the path is public.
func (s *Server) serveReady(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), checkDeadline)
	defer cancel()
	result := readiness{Schema: "readiness/v1", OK: true}
	status := http.StatusOK
	for _, c := range s.cfg.Checks {
		one := checkResult{Name: c.Name, OK: true}
		if err := c.Run(ctx); err != nil {
			one.OK, one.Detail = false, "does not work; the server's log has the cause"
			if p, ok := problem.As(err); ok && p.Kind != problem.Internal {
				one.Detail = p.Message
			}
			result.OK, status = false, http.StatusServiceUnavailable
			s.cfg.Logger.LogAttrs(ctx, slog.LevelError, "not ready", slog.String("check", c.Name), slog.String("error", err.Error()))
		}
		result.Checks = append(result.Checks, one)
	}
	return answerHealth(w, r, "/readyz", status, result)
}

func answerHealth(w http.ResponseWriter, r *http.Request, path string, status int, v readiness) error {
	if err := only(w, r, path); err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	if strings.Contains(r.Header.Get("Accept"), "json") {
		return WriteJSON(w, status, v)
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	if len(v.Checks) == 0 && v.OK {
		_, err := fmt.Fprintln(w, "ok")
		return err
	}
	for _, c := range v.Checks {
		line := "ok      " + c.Name
		if !c.OK {
			line = "failing " + c.Name + ": " + c.Detail
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) serveMetrics(w http.ResponseWriter, r *http.Request) error {
	if err := only(w, r, "/metrics"); err != nil {
		return err
	}
	if s.cfg.Metrics == nil {
		return serveRoot(w, r)
	}
	s.cfg.Metrics.ServeHTTP(w, r)
	return nil
}

// only lets GET and HEAD of exactly one path through.
func only(w http.ResponseWriter, r *http.Request, path string) error {
	if r.URL.Path != path {
		return serveRoot(w, r)
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return MethodNotAllowed(w, r, "GET, HEAD")
	}
	return nil
}
