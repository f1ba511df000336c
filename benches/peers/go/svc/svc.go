// Package svc is what the three services share.
package svc

import (
	"context"
	"encoding/json"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Client calls other services: at most 2 s for a call, on connections that are kept open.
var Client = &http.Client{
	Timeout: 2 * time.Second,
	Transport: &http.Transport{
		MaxIdleConns:        0, // no limit in total
		MaxIdleConnsPerHost: 1024,
		IdleConnTimeout:     90 * time.Second,
		DisableCompression:  true,
	},
}

var (
	requests = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "http_requests_total", Help: "HTTP requests answered.",
	}, []string{"service", "method", "path", "status_code"})
	durations = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Name: "http_request_duration_seconds", Help: "Time to answer an HTTP request.",
	}, []string{"service", "method", "path"})
)

// OpenDB opens a pool of 10 connections.
func OpenDB() *pgxpool.Pool {
	config, err := pgxpool.ParseConfig(os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal("DATABASE_URL: ", err)
	}
	config.MaxConns = 10
	db, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		log.Fatal("database: ", err)
	}
	return db
}

// JSON answers with a status and a JSON body.
func JSON(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body)
}

// Error answers with a status and a message.
func Error(w http.ResponseWriter, code int, message string) {
	JSON(w, code, map[string]string{"error": message})
}

// Fail answers 500 and logs the cause.
func Fail(w http.ResponseWriter, err error) {
	log.Print(err)
	Error(w, http.StatusInternalServerError, "internal error")
}

// Decode reads a JSON body. It answers 400 itself if it cannot.
func Decode(w http.ResponseWriter, r *http.Request, body any) bool {
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(body)
	if err != nil {
		Error(w, http.StatusBadRequest, "invalid JSON body")
	}
	return err == nil
}

type recorder struct {
	http.ResponseWriter
	code int
}

func (r *recorder) WriteHeader(code int) {
	r.code = code
	r.ResponseWriter.WriteHeader(code)
}

// Router returns a router that counts requests, with /metrics and /readyz.
func Router(service string, db *pgxpool.Pool) *chi.Mux {
	mux := chi.NewRouter()
	mux.Use(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			start, rec := time.Now(), &recorder{w, http.StatusOK}
			next.ServeHTTP(rec, r)
			// The route's pattern, so that ids do not multiply the series.
			path := chi.RouteContext(r.Context()).RoutePattern()
			code := strconv.Itoa(rec.code)
			requests.WithLabelValues(service, r.Method, path, code).Inc()
			seconds := time.Since(start).Seconds()
			durations.WithLabelValues(service, r.Method, path).Observe(seconds)
		})
	})
	mux.Method(http.MethodGet, "/metrics", promhttp.Handler())
	mux.Get("/readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := db.Ping(r.Context()); err != nil {
			Error(w, http.StatusServiceUnavailable, "the database does not answer")
			return
		}
		JSON(w, http.StatusOK, map[string]string{"status": "ready"})
	})
	return mux
}

// Serve listens on the loopback address until SIGTERM, then lets requests finish.
func Serve(handler http.Handler) {
	server := &http.Server{
		Addr:              "127.0.0.1:" + os.Getenv("PORT"),
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       120 * time.Second, // longer than the client's
	}
	done := make(chan struct{})
	go func() {
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
		<-stop
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = server.Shutdown(ctx)
		close(done)
	}()
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		log.Fatal(err)
	}
	<-done
}
