package workflowstore

import (
	"encoding/json"
	"math"
	"math/big"
	"testing"
)

func TestJSONKeepsEveryDigit(t *testing.T) {
	for _, text := range []string{
		`9007199254740993`, `-9223372036854775808`, `1e400`, `0.1000`, `"<&>\u0000"`, `{"a":[1.0,{"b":null}]}`, `null`,
	} {
		var value any
		if err := DecodeJSON(text, &value); err != nil {
			t.Fatal(err)
		}
		if again, err := EncodeJSON(value); err != nil || again != text {
			t.Errorf("%s became %s, %v", text, again, err)
		}
	}
	huge, _ := new(big.Int).SetString("123456789012345678901234567890", 10)
	for value, text := range map[any]string{
		uint64(math.MaxUint64): "18446744073709551615", huge: "123456789012345678901234567890", json.Number("1e400"): "1e400",
	} {
		if encoded, err := EncodeJSON(value); err != nil || encoded != text {
			t.Errorf("%v became %s, %v", value, encoded, err)
		}
	}
}

func TestDecodeJSONIntoTypes(t *testing.T) {
	var order struct{ Items int64 }
	if err := DecodeJSON(` {"items": 9007199254740993} `, &order); err != nil || order.Items != 9007199254740993 {
		t.Error(order, err)
	}
	number := new(big.Int)
	if err := DecodeJSON("123456789012345678901234567890", number); err != nil || number.BitLen() != 97 {
		t.Error(number, err)
	}
}

func TestEmptyTextIsNull(t *testing.T) {
	value := any("before")
	if err := DecodeJSON("", &value); err != nil || value != nil {
		t.Error(value, err)
	}
}

func TestWhatIsNoJSONIsRefused(t *testing.T) {
	for _, text := range []string{" ", "{", "1 2", "{}x", "NaN", "[1,]"} {
		var value any
		if err := DecodeJSON(text, &value); err == nil {
			t.Errorf("%q became %v", text, value)
		}
	}
	if text, err := EncodeJSON(math.NaN()); err == nil {
		t.Errorf("NaN became %s", text)
	}
}
