package workflowstore;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.google.gson.JsonElement;
import com.google.gson.JsonParseException;
import com.google.gson.reflect.TypeToken;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class JsonTest {
  record Order(long items, BigInteger total, String note) {}

  @ParameterizedTest
  @ValueSource(
      strings = {
        "null",
        "true",
        "\"\"",
        "\"<é𝄞>&\"",
        "9007199254740993",
        "-123456789012345678901234567890",
        "0.1000000000000000055511151231257827021181583404541015625",
        "1E+400",
        "[[],{},null,1,1.50]",
        "{\"b\":1,\"a\":[{\"c\":null}]}"
      })
  void textsSurviveTheWayThroughValuesAndElements(String text) {
    assertEquals(text.equals("null") ? "" : text, Json.toText(Json.fromText(text)));
    assertEquals(text, Json.toText(Json.fromText(text, JsonElement.class)));
  }

  @Test
  void integersAreBigIntegersAndOtherNumbersBigDecimals() {
    assertEquals(
        List.of(BigInteger.ONE, new BigDecimal("1.0"), new BigDecimal("1e2")),
        Json.fromText("[1, 1.0, 1e2]"));
  }

  @Test
  void emptyTextIsNull() {
    assertEquals("", Json.toText(null));
    assertNull(Json.fromText(""));
    assertNull(Json.fromText("", Order.class));
  }

  @Test
  void nullsWithinAValueAreKept() {
    Map<String, Object> value = new LinkedHashMap<>();
    value.put("a", null);
    value.put("b", Arrays.asList(1, null));
    assertEquals("{\"a\":null,\"b\":[1,null]}", Json.toText(value));
  }

  @Test
  void recordsAndGenericTypesAreReadAndWritten() {
    Order order = new Order(Long.MAX_VALUE, BigInteger.TWO.pow(70), "x");
    String text = Json.toText(List.of(order));
    assertEquals(List.of(order), Json.fromText(text, new TypeToken<List<Order>>() {}.getType()));
  }

  @ParameterizedTest
  @ValueSource(strings = {"{a:1}", "'a'", "NaN", "[1,]", "1 2", "[1", "{} x", "TRUE", "01", "1e"})
  void whatIsNotJsonIsRefused(String text) {
    assertThrows(JsonParseException.class, () -> Json.fromText(text));
  }

  @Test
  void aNumberBeyondTheTypeIsRefusedNotCut() {
    assertEquals(9007199254740993L, Json.fromText("9007199254740993.0", Long.class));
    assertNull(Json.fromText("null", Long.class));
    assertThrows(JsonParseException.class, () -> Json.fromText("1.5", Long.class));
    assertThrows(JsonParseException.class, () -> Json.fromText("2147483648", Integer.class));
    assertThrows(JsonParseException.class, () -> Json.fromText("1e400", Double.class));
    assertThrows(JsonParseException.class, () -> Json.fromText("9223372036854775808", Long.class));
    assertThrows(JsonParseException.class, () -> Json.fromText("1e99999999999"));
  }

  @Test
  void longNumbersAreExactOrRefused() {
    String digits = "9".repeat(1_023);
    assertEquals(new BigInteger(digits), Json.fromText(" ".repeat(100) + digits + " "));
    assertEquals(digits, Json.toText(Json.fromText(digits, JsonElement.class)));
    assertThrows(JsonParseException.class, () -> Json.fromText(digits + "9"));
    assertThrows(JsonParseException.class, () -> Json.fromText(digits + "9", JsonElement.class));
  }

  @Test
  void textsAreAsDeepAsTheServiceTakesThem() {
    String deepest = "[".repeat(500) + "]".repeat(500);
    assertEquals(deepest, Json.toText(Json.fromText(deepest)));
    assertThrows(JsonParseException.class, () -> Json.fromText("[" + deepest + "]"));
  }

  @Test
  void whatJsonOrUtf8CannotCarryIsRefused() {
    assertThrows(IllegalArgumentException.class, () -> Json.toText(List.of(Double.NaN)));
    assertThrows(IllegalArgumentException.class, () -> Json.toText("\ud834"));
  }
}
