// Command orders is the order service: POST /orders calls inventory and payment.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"valerix/svc"
)

type server struct {
	db                  *pgxpool.Pool
	inventory, payments string
}

type order struct {
	ID        string `json:"id"`
	ProductID string `json:"product_id"`
	Quantity  int32  `json:"quantity"`
	Status    string `json:"status"`
	Message   string `json:"message,omitempty"`
}

type stockRequest struct {
	ProductID string `json:"product_id"`
	Quantity  int32  `json:"quantity"`
}

type paymentRequest struct {
	OrderID string `json:"order_id"`
}

type paymentResponse struct {
	Status string `json:"status"`
}

func main() {
	s := &server{
		db:        svc.OpenDB(),
		inventory: os.Getenv("INVENTORY_SERVICE_URL"),
		payments:  os.Getenv("PAYMENT_SERVICE_URL"),
	}
	mux := svc.Router("order-service", s.db)
	mux.Post("/orders", s.create)
	svc.Serve(mux)
}

// post returns the status of a response below 500. All else is an error: a timeout, a connection
// that fails, a 5xx.
func post(url string, request, response any) (int, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return 0, err
	}
	resp, err := svc.Client.Post(url, "application/json", bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 500 {
		err = fmt.Errorf("%s: %s", url, resp.Status)
	}
	if err == nil && response != nil && resp.StatusCode < 300 {
		err = json.Unmarshal(answer, response)
	}
	return resp.StatusCode, err
}

func (s *server) create(w http.ResponseWriter, r *http.Request) {
	var in stockRequest
	if !svc.Decode(w, r, &in) {
		return
	}
	if in.ProductID == "" || len(in.ProductID) > 255 || in.Quantity < 1 || in.Quantity > 1000 {
		svc.Error(w, http.StatusBadRequest, "product_id and a quantity from 1 to 1000 are required")
		return
	}
	// An order is finished even if its client leaves.
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()

	o := order{ProductID: in.ProductID, Quantity: in.Quantity}
	err := s.db.QueryRow(ctx,
		`INSERT INTO orders (product_id, quantity, status) VALUES ($1, $2, 'PENDING') RETURNING id`,
		in.ProductID, in.Quantity).Scan(&o.ID)
	if err != nil {
		svc.Fail(w, err)
		return
	}
	code := 0
	o.Status, o.Message, code = s.decide(in, o.ID)
	_, err = s.db.Exec(ctx,
		`UPDATE orders SET status = $2, updated_at = NOW() WHERE id = $1`, o.ID, o.Status)
	if err != nil {
		svc.Fail(w, err)
		return
	}
	svc.JSON(w, code, o)
}

// decide reserves and charges. It returns the order's status, a message, and the response's code.
func (s *server) decide(in stockRequest, id string) (string, string, int) {
	code, err := post(s.inventory+"/inventory/reserve", in, nil)
	if err != nil {
		return "PENDING_INVENTORY", "Order is being processed", http.StatusAccepted
	}
	if code != http.StatusOK {
		return "FAILED", "Insufficient stock or unknown product", http.StatusConflict
	}
	var payment paymentResponse
	code, err = post(s.payments+"/payments", paymentRequest{id}, &payment)
	if err != nil {
		s.release(in, id)
		return "PENDING_PAYMENT", "Order is being processed", http.StatusAccepted
	}
	if code != http.StatusCreated || payment.Status != "SUCCESS" {
		s.release(in, id)
		return "FAILED", "Payment failed", http.StatusPaymentRequired
	}
	return "CONFIRMED", "Order confirmed", http.StatusCreated
}

func (s *server) release(in stockRequest, id string) {
	if code, err := post(s.inventory+"/inventory/release", in, nil); err != nil || code != 200 {
		log.Printf("order %s: release: %d %v", id, code, err)
	}
}
