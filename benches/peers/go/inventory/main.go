// Command inventory is the inventory service.
package main

import (
	"net/http"

	"github.com/jackc/pgx/v5/pgxpool"

	"valerix/svc"
)

const (
	reserve = `UPDATE inventory SET stock = stock - $2, reserved = reserved + $2
		WHERE product_id = $1 AND stock >= $2`
	release = `UPDATE inventory SET stock = stock + $2, reserved = reserved - $2
		WHERE product_id = $1`
)

type server struct{ db *pgxpool.Pool }

type stockRequest struct {
	ProductID string `json:"product_id"`
	Quantity  int32  `json:"quantity"`
}

func main() {
	s := &server{svc.OpenDB()}
	mux := svc.Router("inventory-service", s.db)
	mux.Post("/inventory/reserve", s.change(reserve, http.StatusConflict))
	mux.Post("/inventory/release", s.change(release, http.StatusNotFound))
	svc.Serve(mux)
}

// change executes one of the two statements. It answers `refusal` if the statement changes no row.
func (s *server) change(sql string, refusal int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in stockRequest
		if !svc.Decode(w, r, &in) {
			return
		}
		if in.ProductID == "" || in.Quantity < 1 {
			svc.Error(w, http.StatusBadRequest, "product_id and a quantity are required")
			return
		}
		tag, err := s.db.Exec(r.Context(), sql, in.ProductID, in.Quantity)
		switch {
		case err != nil:
			svc.Fail(w, err)
		case tag.RowsAffected() == 0:
			svc.Error(w, refusal, "insufficient stock or unknown product")
		default:
			svc.JSON(w, http.StatusOK, in)
		}
	}
}
