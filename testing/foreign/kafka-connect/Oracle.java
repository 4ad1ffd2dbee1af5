// What Kafka Connect's own transforms and converters make of the cases in connect-core/tests/kafka, written
// as connect-core/tests/as_kafka.rs writes it:
//
//   mvn -f bench/jvm/pom.xml dependency:copy-dependencies -DoutputDirectory=/tmp/connect-jars
//   java -cp '/tmp/connect-jars/*' testing/foreign/kafka-connect/Oracle.java connect-core/tests/kafka
//
// Each case gets its "kafka" anew; nothing else in the files changes. The files are one case a line.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.math.BigDecimal;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.connect.connector.ConnectRecord;
import org.apache.kafka.connect.data.Field;
import org.apache.kafka.connect.data.Schema;
import org.apache.kafka.connect.data.SchemaAndValue;
import org.apache.kafka.connect.data.Struct;
import org.apache.kafka.connect.header.ConnectHeaders;
import org.apache.kafka.connect.header.Header;
import org.apache.kafka.connect.json.JsonConverter;
import org.apache.kafka.connect.sink.SinkRecord;
import org.apache.kafka.connect.source.SourceRecord;
import org.apache.kafka.connect.storage.SimpleHeaderConverter;
import org.apache.kafka.connect.transforms.Transformation;

public class Oracle {
    static final ObjectMapper JSON = new ObjectMapper();
    static final Map<String, SchemaAndValue> INPUTS = new HashMap<>();

    interface Question {
        String answer(JsonNode asked) throws Exception;
    }

    public static void main(String[] arguments) throws Exception {
        Path folder = Path.of(arguments[0]);
        for (String line : Files.readAllLines(folder.resolve("inputs.jsonl"))) {
            JsonNode input = JSON.readTree(line);
            INPUTS.put(input.get("name").asText(), input(input));
        }
        answer(folder.resolve("transforms.jsonl"), Oracle::transformed);
        answer(folder.resolve("headers.jsonl"), Oracle::header);
        answer(folder.resolve("json.jsonl"), Oracle::json);
    }

    static void answer(Path file, Question question) throws Exception {
        List<String> lines = new ArrayList<>();
        for (String line : Files.readAllLines(file)) {
            ObjectNode asked = (ObjectNode) JSON.readTree(line);
            String answer;
            try {
                answer = question.answer(asked);
            } catch (Throwable e) {
                answer = "error";
                if (System.getenv("WHY") != null) {
                    System.err.println(line + "\n    " + e);
                }
            }
            asked.put("kafka", answer);
            lines.add(JSON.writeValueAsString(asked));
        }
        Files.write(file, lines);
    }

    static JsonConverter converter(JsonNode config) {
        JsonConverter converter = new JsonConverter();
        converter.configure(map(config), false);
        return converter;
    }

    static Map<String, Object> map(JsonNode config) {
        Map<String, Object> map = new LinkedHashMap<>();
        if (config != null) {
            config.fields().forEachRemaining(entry -> map.put(entry.getKey(), entry.getValue().asText()));
        }
        return map;
    }

    /** A value in the envelope of JsonConverter; with "bare" its structs are maps and its schema is gone. */
    static SchemaAndValue input(JsonNode input) throws Exception {
        ObjectNode envelope = JSON.createObjectNode();
        envelope.set("schema", input.get("schema"));
        envelope.set("payload", input.get("payload"));
        JsonConverter converter = converter(JSON.readTree("{\"replace.null.with.default\":\"false\"}"));
        SchemaAndValue read = converter.toConnectData("topic", JSON.writeValueAsBytes(envelope));
        boolean bare = input.path("bare").asBoolean();
        return bare ? new SchemaAndValue(null, bare(read.value())) : read;
    }

    static Object bare(Object value) {
        if (value instanceof Struct struct) {
            Map<Object, Object> map = new LinkedHashMap<>();
            for (Field field : struct.schema().fields()) {
                map.put(field.name(), bare(struct.getWithoutDefault(field.name())));
            }
            return map;
        }
        if (value instanceof List<?> list) {
            return list.stream().map(Oracle::bare).collect(Collectors.toCollection(ArrayList::new));
        }
        if (value instanceof Map<?, ?> map) {
            Map<Object, Object> bare = new LinkedHashMap<>();
            map.forEach((key, entry) -> bare.put(bare(key), bare(entry)));
            return bare;
        }
        return value;
    }

    @SuppressWarnings({"rawtypes", "unchecked"})
    static String transformed(JsonNode asked) throws Exception {
        String name = asked.get("transform").asText();
        Class<?> found = Class.forName("org.apache.kafka.connect.transforms." + name);
        SchemaAndValue input = INPUTS.get(asked.get("input").asText());
        boolean key = name.endsWith("$Key");
        Schema keySchema = key ? input.schema() : null;
        Object keyValue = key ? input.value() : null;
        Schema schema = key ? null : input.schema();
        Object value = key ? null : input.value();
        Long timestamp = asked.has("timestamp") ? (Long) asked.get("timestamp").asLong() : null;
        String topic = asked.path("topic").asText("topic");
        ConnectHeaders headers = new ConnectHeaders();
        headers.addInt("n", 7);
        headers.addString("h", "one");
        headers.addString("h", "two");
        ConnectRecord<?> record = asked.path("source").asBoolean()
            ? new SourceRecord(null, null, topic, null, keySchema, keyValue, schema, value, timestamp, headers)
            : new SinkRecord(topic, 3, keySchema, keyValue, schema, value, 42, timestamp,
                TimestampType.CREATE_TIME, headers);
        Transformation transform = (Transformation) found.getDeclaredConstructor().newInstance();
        try {
            transform.configure(map(asked.get("config")));
        } catch (Exception e) {
            if (System.getenv("WHY") != null) {
                System.err.println(asked + "\n    " + e);
            }
            return "refused";
        }
        ConnectRecord<?> out = transform.apply(record);
        if (out == null) {
            return "dropped";
        }
        // Only what the transform is about.
        StringBuilder text = new StringBuilder();
        if (name.endsWith("Router")) {
            text.append(out.topic()).append(" ");
        }
        if (name.contains("Key")) {
            text.append("key ").append(both(out.keySchema(), out.key())).append(" ");
        }
        text.append(both(out.valueSchema(), out.value()));
        if (name.contains("Header")) {
            for (Header header : out.headers()) {
                text.append(" ").append(header.key()).append(" ").append(both(header.schema(), header.value()));
            }
        }
        return text.toString();
    }

    /** {"read": text} or {"write": input} of SimpleHeaderConverter. */
    static String header(JsonNode asked) {
        SimpleHeaderConverter converter = new SimpleHeaderConverter();
        if (asked.has("read")) {
            byte[] bytes = asked.get("read").asText().getBytes(StandardCharsets.UTF_8);
            SchemaAndValue read = converter.toConnectHeader("topic", "h", bytes);
            return both(read.schema(), read.value());
        }
        SchemaAndValue input = INPUTS.get(asked.get("write").asText());
        byte[] bytes = converter.fromConnectHeader("topic", "h", input.schema(), input.value());
        return bytes == null ? "null" : new String(bytes, StandardCharsets.UTF_8);
    }

    /** {"config": …, "read": text} or {"config": …, "write": input} of JsonConverter. */
    static String json(JsonNode asked) throws Exception {
        JsonConverter converter;
        try {
            converter = converter(asked.get("config"));
        } catch (Exception e) {
            return "refused";
        }
        if (asked.has("read")) {
            JsonNode text = asked.get("read");
            byte[] bytes = text.isNull() ? null : text.asText().getBytes(StandardCharsets.UTF_8);
            SchemaAndValue read = converter.toConnectData("topic", bytes);
            return both(read.schema(), read.value());
        }
        SchemaAndValue input = INPUTS.get(asked.get("write").asText());
        byte[] bytes = converter.fromConnectData("topic", input.schema(), input.value());
        return bytes == null ? "null" : new String(bytes, StandardCharsets.UTF_8);
    }

    static String both(Schema schema, Object value) {
        return schema(schema) + " " + value(value);
    }

    static String schema(Schema schema) {
        if (schema == null) {
            return "-";
        }
        StringBuilder text = new StringBuilder(schema.type().getName());
        switch (schema.type()) {
            case ARRAY -> text.append("<").append(schema(schema.valueSchema())).append(">");
            case MAP -> text.append("<").append(schema(schema.keySchema())).append(",")
                .append(schema(schema.valueSchema())).append(">");
            case STRUCT -> text.append(schema.fields().stream()
                .map(field -> field.name() + ":" + schema(field.schema()))
                .collect(Collectors.joining(",", "{", "}")));
            default -> { }
        }
        if (schema.isOptional()) {
            text.append("?");
        }
        if (schema.name() != null) {
            text.append("@").append(schema.name().replaceAll(".*\\.", ""));
        }
        if (schema.version() != null) {
            text.append("/").append(schema.version());
        }
        if (schema.doc() != null) {
            text.append("#").append(schema.doc());
        }
        if (schema.parameters() != null && !schema.parameters().isEmpty()) {
            text.append(new TreeMap<>(schema.parameters()));
        }
        if (schema.defaultValue() != null) {
            text.append("=").append(value(schema.defaultValue()));
        }
        return text.toString();
    }

    static String value(Object value) {
        if (value == null) {
            return "null";
        } else if (value instanceof Byte) {
            return "int8:" + value;
        } else if (value instanceof Short) {
            return "int16:" + value;
        } else if (value instanceof Integer) {
            return "int32:" + value;
        } else if (value instanceof Long) {
            return "int64:" + value;
        } else if (value instanceof Float) {
            return "float32:" + value;
        } else if (value instanceof Double) {
            return "float64:" + value;
        } else if (value instanceof String) {
            return "'" + value + "'";
        } else if (value instanceof byte[] bytes) {
            return hex(ByteBuffer.wrap(bytes));
        } else if (value instanceof ByteBuffer bytes) {
            return hex(bytes.duplicate());
        } else if (value instanceof BigDecimal number) {
            return "decimal:" + number.unscaledValue() + "/" + number.scale();
        } else if (value instanceof java.util.Date date) {
            return "time:" + date.getTime();
        } else if (value instanceof List<?> list) {
            return list.stream().map(Oracle::value).collect(Collectors.joining(",", "[", "]"));
        } else if (value instanceof Map<?, ?> map) {
            return map.entrySet().stream()
                .map(entry -> value(entry.getKey()) + "=" + value(entry.getValue()))
                .sorted().collect(Collectors.joining(",", "{", "}"));
        } else if (value instanceof Struct struct) {
            return struct.schema().fields().stream()
                .map(field -> field.name() + "=" + value(struct.getWithoutDefault(field.name())))
                .collect(Collectors.joining(",", "(", ")"));
        }
        return value.toString();
    }

    static String hex(ByteBuffer bytes) {
        StringBuilder text = new StringBuilder("0x");
        while (bytes.hasRemaining()) {
            text.append(String.format("%02x", bytes.get()));
        }
        return text.toString();
    }
}
