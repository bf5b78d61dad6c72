package workflowstore;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonIOException;
import com.google.gson.JsonParseException;
import com.google.gson.JsonSyntaxException;
import com.google.gson.Strictness;
import com.google.gson.TypeAdapter;
import com.google.gson.stream.JsonReader;
import com.google.gson.stream.JsonToken;
import com.google.gson.stream.JsonWriter;
import java.io.IOException;
import java.io.StringReader;
import java.lang.reflect.Type;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;

/**
 * The only place that knows how Java values and the JSON text of {@code input_json}, {@code
 * result_json} and {@code signal_payload_json} become each other without losing a digit.
 *
 * <p>These fields are plain texts: any other JSON library, or a {@link Gson} of your own, does as
 * well. Empty text is null in both directions, as it is for the service.
 */
public final class Json {
  /** How deep a text may be nested: as deep as the service takes it. */
  private static final int DEPTH_MAX = 500;

  private static final Gson GSON =
      new GsonBuilder()
          .setStrictness(Strictness.STRICT)
          .serializeNulls()
          .disableHtmlEscaping()
          .setObjectToNumberStrategy(Json::number)
          .registerTypeAdapter(long.class, new ExactLong())
          .registerTypeAdapter(Long.class, new ExactLong())
          .create();

  private Json() {}

  /**
   * The JSON text of a value, without spaces.
   *
   * @param value what Gson writes: maps, lists, arrays, texts, booleans, numbers, records, classes
   *     with fields, and {@code JsonElement}; or null
   * @return the text; empty for null
   * @throws IllegalArgumentException a number is not finite, or a text has a lone surrogate, which
   *     UTF-8 cannot carry and protobuf would replace by a question mark
   * @throws JsonIOException a part of the value is of a class of the JDK that JSON has nothing for
   */
  public static String toText(Object value) {
    if (value == null) {
      return "";
    }
    String text = GSON.toJson(value);
    if (!StandardCharsets.UTF_8.newEncoder().canEncode(text)) {
      throw new IllegalArgumentException("a text has a lone surrogate, which UTF-8 cannot carry");
    }
    return text;
  }

  /**
   * The value of a JSON text: {@code Map<String, Object>}, {@code List<Object>}, String, Boolean,
   * BigInteger for every number without fraction and exponent, BigDecimal for the others; or null.
   *
   * @param text the text; empty is null
   * @return the value
   * @throws JsonParseException the text is not JSON, is nested deeper than 500 levels, or has a
   *     number of more than 1,023 characters
   */
  public static Object fromText(String text) {
    return fromText(text, Object.class);
  }

  /**
   * The value of a JSON text as one of a class: a record or class of your own, {@code JsonElement},
   * Long, BigInteger and so on.
   *
   * <p>Integers keep every digit where the class has a long, a BigInteger, a BigDecimal, an Object
   * or a JsonElement for them; a double rounds. {@code JsonElement} keeps the very text of a
   * number, but its {@code equals} compares two of them as doubles: compare their {@code
   * getAsBigInteger()}.
   *
   * @param text the text; empty is null
   * @param type the class
   * @param <T> the class
   * @return the value
   * @throws JsonParseException as {@link #fromText(String)}, or the text does not fit the class
   */
  public static <T> T fromText(String text, Class<T> type) {
    return fromText(text, (Type) type);
  }

  /**
   * As {@link #fromText(String, Class)}, for a generic type such as {@code new
   * TypeToken<List<Order>>() {}.getType()}.
   *
   * @param text the text; empty is null
   * @param type the type
   * @param <T> the type
   * @return the value
   * @throws JsonParseException as {@link #fromText(String)}, or the text does not fit the type
   */
  public static <T> T fromText(String text, Type type) {
    JsonReader reader = new JsonReader(new StringReader(text));
    reader.setNestingLimit(DEPTH_MAX);
    T value = GSON.fromJson(reader, type);
    try {
      // Gson stops after the first value.
      if (reader.peek() != JsonToken.END_DOCUMENT) {
        throw new JsonSyntaxException("more than one value at " + reader.getPath());
      }
    } catch (IOException error) {
      throw new JsonSyntaxException(error);
    }
    return value;
  }

  private static Number number(JsonReader in) throws IOException {
    String text = in.nextString();
    try {
      return text.matches("-?[0-9]+") ? new BigInteger(text) : new BigDecimal(text);
    } catch (NumberFormatException error) {
      throw new JsonSyntaxException("a number beyond what BigDecimal can hold: " + text, error);
    }
  }

  /** Gson's own goes by way of a double where the text is no long, and reads 2^63 as 2^63 - 1. */
  private static final class ExactLong extends TypeAdapter<Long> {
    @Override
    public Long read(JsonReader in) throws IOException {
      if (in.peek() == JsonToken.NULL) {
        in.nextNull();
        return null;
      }
      String text = in.nextString();
      try {
        return new BigDecimal(text).longValueExact();
      } catch (ArithmeticException | NumberFormatException error) {
        throw new JsonSyntaxException("not a long: " + text, error);
      }
    }

    @Override
    public void write(JsonWriter out, Long value) throws IOException {
      out.value(value);
    }
  }
}
