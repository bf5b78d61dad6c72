package workflowstore.conformance;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.gson.JsonPrimitive;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.protobuf.util.JsonFormat;
import com.google.rpc.BadRequest;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.Context;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.PrototypeMarshaller;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.ClientCalls;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import java.util.function.UnaryOperator;
import java.util.regex.MatchResult;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import workflowstore.WorkflowStoreChannel;
import workflowstore.WorkflowStoreException;
import workflowstore.v1.WorkflowStoreGrpc;

/**
 * The only place that knows how a case is run in Java. The format of the cases, and how a reply is
 * compared, is in {@code clients/conformance/README.md}.
 */
public final class Conformance {
  /** No call of a case takes as long; a Watch that is told too little would wait for ever. */
  private static final long CALL_SECONDS_MAX = 20;

  private static final int SHOWN_CHARACTERS_MAX = 200;
  private static final Pattern VARIABLE =
      Pattern.compile("\\$\\{(?:repeat:([^:}]*):(\\d+)|(\\w+))}");
  private static final JsonFormat.Printer PRINTER =
      JsonFormat.printer().preservingProtoFieldNames().omittingInsignificantWhitespace();

  /** What the server replies is not what the case expects. */
  private static final class Difference extends Exception {
    private static final long serialVersionUID = 1;

    Difference(String message) {
      super(message);
    }
  }

  private final Channel channel;

  private Conformance(Channel channel) {
    this.channel = channel;
  }

  /**
   * Runs the cases; the exit code is 1 when one has failed.
   *
   * @param arguments {@code --address HOST:PORT --cases FILE}
   * @throws IOException the file cannot be read
   */
  public static void main(String[] arguments) throws IOException {
    String address = null;
    Path file = null;
    for (int i = 0; i + 1 < arguments.length; i += 2) {
      switch (arguments[i]) {
        case "--address" -> address = arguments[i + 1];
        case "--cases" -> file = Path.of(arguments[i + 1]);
        default -> {}
      }
    }
    if (arguments.length != 4 || address == null || file == null) {
      System.err.println("usage: Conformance --address HOST:PORT --cases FILE");
      System.exit(2);
    }
    PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    JsonArray cases = object(Files.readString(file)).getAsJsonArray("cases");
    ManagedChannel channel =
        WorkflowStoreChannel.newBuilder(address, InsecureChannelCredentials.create()).build();
    Conformance conformance = new Conformance(channel);
    int failed = 0;
    for (JsonElement element : cases) {
      JsonObject one = element.getAsJsonObject();
      try {
        conformance.run(one.getAsJsonArray("steps"));
      } catch (Difference | InvalidProtocolBufferException | IllegalArgumentException difference) {
        failed++;
        out.println(one.get("name").getAsString() + ": " + difference.getMessage());
      }
    }
    channel.shutdownNow();
    out.println((cases.size() - failed) + " cases passed, " + failed + " failed");
    System.exit(failed == 0 ? 0 : 1);
  }

  private void run(JsonArray steps) throws Difference, InvalidProtocolBufferException {
    Map<String, String> variables = new HashMap<>();
    variables.put("case", "case-" + UUID.randomUUID());
    for (int number = 1; number <= steps.size(); number++) {
      JsonObject step = steps.get(number - 1).getAsJsonObject();
      String call = step.get("call").getAsString();
      try {
        step(step, method(call), variables);
      } catch (Difference difference) {
        throw new Difference("step " + number + ", " + call + ": " + difference.getMessage());
      }
    }
  }

  // All methods of the service take and give messages.
  @SuppressWarnings("unchecked")
  private static MethodDescriptor<Message, Message> method(String name) throws Difference {
    for (MethodDescriptor<?, ?> method : WorkflowStoreGrpc.getServiceDescriptor().getMethods()) {
      if (name.equals(method.getBareMethodName())) {
        return (MethodDescriptor<Message, Message>) method;
      }
    }
    throw new Difference("no such call");
  }

  private void step(
      JsonObject step, MethodDescriptor<Message, Message> method, Map<String, String> variables)
      throws Difference, InvalidProtocolBufferException {
    UnaryOperator<JsonElement> substituted = value -> substituted(value, variables);
    Message request =
        parsed(substituted.apply(step.get("request")), builder(method.getRequestMarshaller()));
    Message.Builder reply = builder(method.getResponseMarshaller());
    JsonElement expectedError = substituted.apply(step.get("error"));
    int messagesMax = step.has("messages") ? step.get("messages").getAsInt() : Integer.MAX_VALUE;
    try (Context.CancellableContext context = Context.current().withCancellation()) {
      context.run(() -> read(method, request, messagesMax, reply));
    } catch (StatusRuntimeException failure) {
      checkError(WorkflowStoreException.from(failure), expectedError);
      return;
    }
    JsonObject actual = object(PRINTER.print(reply));
    if (expectedError != null) {
      throw new Difference(
          "error " + shown(expectedError) + " expected, reply " + shown(actual) + " found");
    }
    if (step.has("response")) {
      JsonElement expected = substituted.apply(step.get("response"));
      Message message = parsed(withoutNulls(expected), builder(method.getResponseMarshaller()));
      List<String> found = new ArrayList<>();
      compare(object(PRINTER.print(message)), actual, "response", found);
      compareNulls(expected, actual, "response", found);
      refuse(found);
    }
    if (step.has("bind")) {
      for (Map.Entry<String, JsonElement> entry : step.getAsJsonObject("bind").entrySet()) {
        variables.put(entry.getKey(), at(actual, entry.getValue().getAsString()));
      }
    }
  }

  private void read(
      MethodDescriptor<Message, Message> method,
      Message request,
      int messagesMax,
      Message.Builder reply) {
    CallOptions options = CallOptions.DEFAULT.withDeadlineAfter(CALL_SECONDS_MAX, TimeUnit.SECONDS);
    if (method.getType() == MethodDescriptor.MethodType.UNARY) {
      reply.mergeFrom(ClientCalls.blockingUnaryCall(channel, method, options, request));
      return;
    }
    Iterator<Message> messages =
        ClientCalls.blockingServerStreamingCall(channel, method, options, request);
    for (int read = 0; read < messagesMax && messages.hasNext(); read++) {
      reply.mergeFrom(messages.next());
    }
  }

  private static void checkError(WorkflowStoreException error, JsonElement expected)
      throws Difference {
    JsonObject actual = new JsonObject();
    actual.addProperty("code", error.code().name());
    actual.addProperty("reason", error.reasonName());
    JsonObject metadata = new JsonObject();
    error.metadata().forEach(metadata::addProperty);
    actual.add("metadata", metadata);
    actual.add(
        "fields", sorted(error.violations().stream().map(BadRequest.FieldViolation::getField)));
    if (expected == null) {
      throw new Difference("no error expected, " + shown(actual) + " found: " + error.getMessage());
    }
    JsonObject sorted = expected.getAsJsonObject().deepCopy();
    if (sorted.has("fields")) {
      Stream<JsonElement> fields = sorted.getAsJsonArray("fields").asList().stream();
      sorted.add("fields", sorted(fields.map(JsonElement::getAsString)));
    }
    List<String> found = new ArrayList<>();
    compare(sorted, actual, "error", found);
    refuse(found);
  }

  /** Adds where the expected value is no subset of the actual one. */
  private static void compare(
      JsonElement expected, JsonElement actual, String path, List<String> found) {
    if (expected instanceof JsonObject members && actual instanceof JsonObject others) {
      for (Map.Entry<String, JsonElement> member : members.entrySet()) {
        String memberPath = path + "." + member.getKey();
        if (others.has(member.getKey())) {
          compare(member.getValue(), others.get(member.getKey()), memberPath, found);
        } else {
          found.add(memberPath + ": " + shown(member.getValue()) + " expected, absent");
        }
      }
    } else if (expected instanceof JsonArray items
        && actual instanceof JsonArray others
        && items.size() == others.size()) {
      for (int i = 0; i < items.size(); i++) {
        compare(items.get(i), others.get(i), path + "." + i, found);
      }
    } else if (!expected.equals(actual)) {
      found.add(path + ": " + shown(expected) + " expected, " + shown(actual) + " found");
    }
  }

  /** Adds where the expected value has a null and the actual one has something. */
  private static void compareNulls(
      JsonElement expected, JsonElement actual, String path, List<String> found) {
    if (expected instanceof JsonObject members && actual instanceof JsonObject others) {
      for (Map.Entry<String, JsonElement> member : members.entrySet()) {
        String memberPath = path + "." + member.getKey();
        JsonElement other = others.get(member.getKey());
        if (other != null && member.getValue().isJsonNull()) {
          found.add(memberPath + ": to be absent, " + shown(other) + " found");
        } else if (other != null) {
          compareNulls(member.getValue(), other, memberPath, found);
        }
      }
    } else if (expected instanceof JsonArray items && actual instanceof JsonArray others) {
      for (int i = 0; i < Math.min(items.size(), others.size()); i++) {
        compareNulls(items.get(i), others.get(i), path + "." + i, found);
      }
    }
  }

  private static void refuse(List<String> found) throws Difference {
    if (!found.isEmpty()) {
      throw new Difference(String.join("; ", found));
    }
  }

  /** The value with every variable in its texts replaced; names of members stay. */
  private static JsonElement substituted(JsonElement value, Map<String, String> variables) {
    if (value instanceof JsonPrimitive primitive && primitive.isString()) {
      return new JsonPrimitive(
          VARIABLE
              .matcher(primitive.getAsString())
              .replaceAll(match -> Matcher.quoteReplacement(replacement(match, variables))));
    }
    return mapped(value, member -> substituted(member, variables));
  }

  private static String replacement(MatchResult match, Map<String, String> variables) {
    if (match.group(3) == null) {
      return match.group(1).repeat(Integer.parseInt(match.group(2)));
    }
    if (!variables.containsKey(match.group(3))) {
      throw new IllegalArgumentException("no variable " + match.group());
    }
    return variables.get(match.group(3));
  }

  /** The value less its nulls: proto3 JSON would take them for defaults. */
  private static JsonElement withoutNulls(JsonElement value) {
    return mapped(value, member -> member.isJsonNull() ? null : withoutNulls(member));
  }

  /**
   * The value with each member and item replaced; members of which nothing is made are left out.
   */
  private static JsonElement mapped(JsonElement value, UnaryOperator<JsonElement> each) {
    if (value instanceof JsonObject members) {
      JsonObject result = new JsonObject();
      for (Map.Entry<String, JsonElement> member : members.entrySet()) {
        JsonElement made = each.apply(member.getValue());
        if (made != null) {
          result.add(member.getKey(), made);
        }
      }
      return result;
    }
    if (value instanceof JsonArray items) {
      JsonArray result = new JsonArray();
      items.forEach(item -> result.add(each.apply(item)));
      return result;
    }
    return value;
  }

  /** The text at a dotted path. */
  private static String at(JsonElement reply, String path) throws Difference {
    JsonElement value = reply;
    for (String name : path.split("\\.")) {
      if (value instanceof JsonArray items) {
        int index = Integer.parseInt(name);
        value = index < items.size() ? items.get(index) : null;
      } else {
        value = value instanceof JsonObject members ? members.get(name) : null;
      }
    }
    if (value == null) {
      throw new Difference("response." + path + ": to be bound, absent");
    }
    return value.getAsString();
  }

  private static Message parsed(JsonElement json, Message.Builder builder)
      throws InvalidProtocolBufferException {
    JsonFormat.parser().merge(json.toString(), builder);
    return builder.build();
  }

  private static Message.Builder builder(MethodDescriptor.Marshaller<Message> marshaller) {
    return ((PrototypeMarshaller<Message>) marshaller).getMessagePrototype().newBuilderForType();
  }

  private static JsonObject object(String text) {
    return JsonParser.parseString(text).getAsJsonObject();
  }

  private static JsonArray sorted(Stream<String> texts) {
    JsonArray result = new JsonArray();
    texts.sorted().forEach(result::add);
    return result;
  }

  private static String shown(JsonElement value) {
    String text = value.toString();
    return text.length() <= SHOWN_CHARACTERS_MAX
        ? text
        : text.substring(0, SHOWN_CHARACTERS_MAX) + "... (" + text.length() + " characters)";
  }
}
