import java.io.FileInputStream;
import java.lang.reflect.Array;
import java.lang.reflect.Field;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.Proxy;
import java.util.Collection;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ThreadPoolExecutor;

/**
 * Asks the daemon's own classes what they make of properties files, with the jars of any generation
 * on the class path:
 *
 *     java -cp 'JARS/*' Configuration.java PROVIDER FILE...
 *
 * Each key of a file is given to the daemon's configurator alone, beside the keys that it cannot do
 * without; PROVIDER is the credentials provider among them. What it is worth is told by the
 * configuration that comes out: "applied" if that is another one than without the key, "ignored" if it
 * is the same, "refused" if there is none, or if no worker can be made from it, which is the end of a
 * daemon. A region is taken from -Daws.region. Before the keys of a file
 * stands what becomes of all of it together, "taken" or "refused" and "the whole file"; after all files
 * "settable" and every key that there is.
 *
 * One line for each, the word and the name with a tab between.
 */
public final class Configuration {
    private static final String NEW = "software.amazon.kinesis.multilang.";
    /** What comes out without a key: making a worker takes its time. */
    private static final Map<Properties, Optional<String>> OUTCOMES = new HashMap<>();
    private static final String OLD = "com.amazonaws.services.kinesis.";

    public static void main(String[] arguments) throws Exception {
        StringBuilder output = new StringBuilder();
        for (int i = 1; i < arguments.length; i++) {
            Properties file = new Properties();
            try (FileInputStream input = new FileInputStream(arguments[i])) {
                file.load(input);
            }
            output.append(isTaken(file) ? "taken" : "refused").append("\tthe whole file\n");
            for (String key : new TreeSet<>(file.stringPropertyNames())) {
                String verdict = verdict(arguments[0], key, file.getProperty(key));
                output.append(verdict).append('\t').append(key).append('\n');
            }
        }
        for (String key : settable()) {
            output.append("settable\t").append(key).append('\n');
        }
        System.out.print(output);
        System.out.flush();
        // The pools of maxActiveThreads would wait for work.
        System.exit(0);
    }

    private static boolean isTaken(Properties file) throws Exception {
        Class<?> daemon = ofEither(NEW + "MultiLangDaemonConfig", OLD + "multilang.MultiLangDaemonConfig");
        Method validate = daemon.getDeclaredMethod("validateProperties", Properties.class);
        validate.setAccessible(true);
        return (boolean) validate.invoke(null, file) && outcome(file).isPresent();
    }

    private static String verdict(String provider, String key, String value) throws Exception {
        Properties without = new Properties();
        without.setProperty("applicationName", "probe-application");
        without.setProperty("streamName", "probe-stream");
        without.setProperty("workerId", "probe worker");
        // The same key in other letters would be a second one.
        if (!key.equalsIgnoreCase("AWSCredentialsProvider")) {
            without.setProperty("AWSCredentialsProvider", provider);
        }
        Properties with = (Properties) without.clone();
        with.setProperty(key, value);
        Optional<String> outcome = outcome(with);
        if (!outcome.isPresent()) {
            return "refused";
        }
        if (!OUTCOMES.containsKey(without)) {
            OUTCOMES.put(without, outcome(without));
        }
        return outcome.equals(OUTCOMES.get(without)) ? "ignored" : "applied";
    }

    /** All that the daemon has from the properties, or nothing if it refuses them. */
    private static Optional<String> outcome(Properties properties) throws Exception {
        Class<?> configurator = ofEither(NEW + "config.KinesisClientLibConfigurator",
                OLD + "clientlibrary.config.KinesisClientLibConfigurator");
        Class<?> daemon = ofEither(NEW + "MultiLangDaemonConfig", OLD + "multilang.MultiLangDaemonConfig");
        StringBuilder told = new StringBuilder();
        try {
            Object configuration = configurator.getMethod("getConfiguration", Properties.class)
                    .invoke(configurator.getConstructor().newInstance(), properties);
            tell(configuration, told, new IdentityHashMap<>());
            resolve(configuration);
            Method pool = daemon.getDeclaredMethod("buildExecutorService", Properties.class);
            pool.setAccessible(true);
            told.append(((ThreadPoolExecutor) pool.invoke(null, properties)).getMaximumPoolSize());
        } catch (InvocationTargetException e) {
            explain(e);
            return Optional.empty();
        }
        for (String key : keysOfTheDaemonItself(daemon)) {
            told.append(';').append(properties.getProperty(key));
        }
        return Optional.of(told.toString());
    }

    /** Makes a worker with all its clients, as the daemon does next; 1.x does that another way. */
    private static void resolve(Object configuration) throws Exception {
        if (configuration.getClass().getName().startsWith(NEW)) {
            Class<?> factory = Class.forName("software.amazon.kinesis.processor.ShardRecordProcessorFactory");
            Object none = Proxy.newProxyInstance(
                    factory.getClassLoader(), new Class<?>[] {factory}, (proxy, method, given) -> null);
            configuration.getClass().getMethod("build", factory).invoke(configuration, none);
        }
    }

    /** Why a file is refused: for whoever looks at a failed test. */
    private static void explain(Throwable error) {
        while (error.getCause() != null) {
            error = error.getCause();
        }
        System.err.println("refused: " + error);
    }

    /** executableName and the other two that MultiLangDaemonConfig reads. */
    private static Set<String> keysOfTheDaemonItself(Class<?> daemon) throws IllegalAccessException {
        Set<String> keys = new TreeSet<>();
        for (Field field : daemon.getDeclaredFields()) {
            if (field.getName().startsWith("PROP_")) {
                field.setAccessible(true);
                keys.add((String) field.get(null));
            }
        }
        return keys;
    }

    /** The names of setters: of a bean's in 2.x and 3.x, of the methods with... in 1.x. */
    private static Set<String> settable() throws Exception {
        Class<?> configuration = ofEither(NEW + "config.MultiLangDaemonConfiguration",
                OLD + "clientlibrary.lib.worker.KinesisClientLibConfiguration");
        String prefix = configuration.getName().startsWith(NEW) ? "set" : "with";
        Set<String> keys = keysOfTheDaemonItself(
                ofEither(NEW + "MultiLangDaemonConfig", OLD + "multilang.MultiLangDaemonConfig"));
        for (Method method : configuration.getMethods()) {
            if (method.getName().startsWith(prefix) && method.getParameterCount() == 1) {
                keys.add(java.beans.Introspector.decapitalize(method.getName().substring(prefix.length())));
            }
        }
        return keys;
    }

    private static Class<?> ofEither(String name, String other) throws ClassNotFoundException {
        try {
            return Class.forName(name);
        } catch (ClassNotFoundException e) {
            return Class.forName(other);
        }
    }

    /** Writes down all that a configuration holds; of the classes of others, only their names. */
    private static void tell(Object value, StringBuilder told, Map<Object, Object> seen)
            throws IllegalAccessException {
        if (value == null || value instanceof String || value instanceof Number || value instanceof Boolean
                || value instanceof Enum || value.getClass().getName().startsWith("java.time.")
                || value instanceof java.util.Date || value.getClass().getSimpleName().equals("Region")
                || value instanceof java.net.URI) {
            told.append(value).append(';');
        } else if (seen.put(value, value) != null) {
            told.append("again;");
        } else if (value instanceof Optional) {
            tell(((Optional<?>) value).orElse(null), told, seen);
        } else if (value instanceof Map) {
            for (Map.Entry<?, ?> entry : new TreeMap<>((Map<?, ?>) value).entrySet()) {
                told.append(entry.getKey()).append('=');
                tell(entry.getValue(), told, seen);
            }
        } else if (value instanceof Collection) {
            for (Object element : (Collection<?>) value) {
                tell(element, told, seen);
            }
        } else if (value.getClass().isArray()) {
            for (int i = 0; i < Array.getLength(value); i++) {
                tell(Array.get(value, i), told, seen);
            }
        } else {
            told.append(value.getClass().getName()).append('{');
            for (Field field : value.getClass().getDeclaredFields()) {
                if (value.getClass().getName().contains(".kinesis.") && !Modifier.isStatic(field.getModifiers())
                        && !field.getType().getName().contains("beanutils")) {
                    field.setAccessible(true);
                    told.append(field.getName()).append('=');
                    tell(field.get(value), told, seen);
                }
            }
            told.append('}');
        }
    }
}
