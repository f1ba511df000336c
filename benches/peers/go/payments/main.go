// Command payments is the payment service: a mock whose charges succeed at PAYMENT_SUCCESS_RATE.
package main

import (
	"log"
	"math/rand"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"valerix/svc"
)

type server struct {
	db   *pgxpool.Pool
	rate float64
}

type payment struct {
	ID      string  `json:"id"`
	OrderID string  `json:"order_id"`
	Amount  float64 `json:"amount"`
	Status  string  `json:"status"`
}

func main() {
	rate, err := strconv.ParseFloat(os.Getenv("PAYMENT_SUCCESS_RATE"), 64)
	if err != nil {
		log.Fatal("PAYMENT_SUCCESS_RATE: ", err)
	}
	rand.Seed(time.Now().UnixNano()) // Go before 1.20 would repeat the same sequence
	s := &server{svc.OpenDB(), rate}
	mux := svc.Router("payment-service", s.db)
	mux.Post("/payments", s.create)
	svc.Serve(mux)
}

// create answers 201 for a declined payment too: the payment exists, with the status FAILED.
func (s *server) create(w http.ResponseWriter, r *http.Request) {
	var in struct {
		OrderID string `json:"order_id"`
	}
	if !svc.Decode(w, r, &in) {
		return
	}
	p := payment{OrderID: in.OrderID, Amount: 99.99, Status: "FAILED"}
	if rand.Float64() < s.rate {
		p.Status = "SUCCESS"
	}
	err := s.db.QueryRow(r.Context(),
		`INSERT INTO payments (order_id, status) VALUES ($1, $2) RETURNING id`,
		p.OrderID, p.Status).Scan(&p.ID)
	if err != nil {
		svc.Fail(w, err)
		return
	}
	svc.JSON(w, http.StatusCreated, p)
}
